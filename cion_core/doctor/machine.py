"""Checks of the machine, and of the libraries that do the work on it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
from pathlib import Path

import psutil

from cion_core.doctor.findings import Finding, version

GIB = 2**30
LEAST_DISK = 5 * GIB  # below this, or LEAST_MEMORY, a demo hardly runs
LEAST_MEMORY = 4 * GIB
CODECS = ("h264", "hevc", "av1", "vp9", "mpeg4", "mjpeg")  # those that cameras and archives use
EXTRAS = {  # what an extra brings, and what it is for
    "onnx, export": ("onnx", "onnxscript", "onnxruntime"),
    "yolo": ("ultralytics", "lap"),
}


def python(about: str) -> Finding:
    """The interpreter and the machine."""
    memory = psutil.virtual_memory().total
    text = f"{platform.python_version()}, {os.cpu_count()} cores, {memory / GIB:.0f} GiB of memory"
    remedy = None
    if memory < LEAST_MEMORY:
        remedy = "less than 4 GiB: large videos may not fit"
    return Finding(about, text, remedy)


def torch(about: str) -> Finding:
    """PyTorch, and the device that `runtime.device: auto` means here."""
    from cion_core import compat  # before torchvision: it mends the import where the builds differ
    from cion_core.zoo import device

    library = importlib.import_module("torch")
    where = device.pick("auto")
    name = library.cuda.get_device_name(0) if where.type == "cuda" else "no GPU that torch sees"
    mended = ""
    if compat._kept is not None:
        mended = ", beside a torchvision of another build (worked around)"
    text = f"{library.__version__}, runs on {where.type} ({name}){mended}"
    remedy = None
    if where.type == "cpu" and shutil.which("nvidia-smi") is not None:
        remedy = "there is a GPU, but this torch is a CPU build; install one for CUDA"
    return Finding(about, text, remedy)


def faiss(about: str) -> Finding:
    """Which build of the library of exact search."""
    builds = [name for name in ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12") if version(name)]
    if not builds:
        return Finding(
            about,
            "not installed",
            "pip install 'cion[cpu]', or 'cion[gpu]' on a machine with a GPU",
        )
    text = " and ".join(f"{name} {version(name)}" for name in builds)
    if len(builds) > 1:
        return Finding(about, text, "they overwrite one another: uninstall both, then install one")
    library = importlib.import_module("faiss")
    gpus = library.get_num_gpus() if hasattr(library, "get_num_gpus") else 0
    return Finding(about, f"{text}, {gpus} GPUs")


def video(about: str) -> Finding:
    """What videos can be decoded, and whether some can be written."""
    av = importlib.import_module("av")
    absent = [name for name in CODECS if not _has_codec(av, name, "r")]
    there = ", ".join(name for name in CODECS if name not in absent)
    writes = "H.264" if _has_codec(av, "h264", "w") else "no H.264"
    text = f"PyAV {av.__version__} reads {there}; writes {writes}"
    remedy = None
    if absent:
        remedy = f"no decoder for {', '.join(absent)}; convert such clips"
    return Finding(about, text, remedy)


def _has_codec(av: object, name: str, mode: str) -> bool:
    try:
        av.Codec(name, mode)
    except Exception:  # PyAV has an error class of its own for each version
        return False
    return True


def images(about: str) -> Finding:
    """What pictures can be decoded."""
    import cv2

    kinds = {
        "jpg": "JPEG",
        "png": "PNG",
        "webp": "WebP",
        "tiff": "TIFF",
        "jp2": "JPEG 2000",
        "avif": "AVIF",
    }
    there = [name for ending, name in kinds.items() if cv2.haveImageWriter(f"a.{ending}")]
    doubled = [
        name
        for name in ("opencv-python", "opencv-python-headless", "opencv-contrib-python")
        if version(name)
    ]
    text = f"OpenCV {cv2.__version__} reads {', '.join(there)}, BMP"
    remedy = None
    if len(doubled) > 1:
        remedy = f"{' and '.join(doubled)} overwrite one another: keep one"
    return Finding(about, text, remedy)


def extras(about: str) -> Finding:
    """Optional parts; that one is absent is no fault."""
    told = []
    for name, packages in EXTRAS.items():
        absent = [package for package in packages if importlib.util.find_spec(package) is None]
        told.append(f"{name}: no {', '.join(absent)}" if absent else f"{name}: yes")
    if importlib.util.find_spec("onnxruntime"):
        providers = importlib.import_module("onnxruntime").get_available_providers()
        names = [name.removesuffix("ExecutionProvider") for name in providers]
        told.append(f"onnxruntime on {', '.join(names)}")
    return Finding(about, "; ".join(told))


def disk(about: str) -> Finding:
    """Room in this folder, and whether it can be written."""
    usage = shutil.disk_usage(".")
    text = f"{usage.free / GIB:.0f} of {usage.total / GIB:.0f} GiB free in this folder"
    if not os.access(".", os.W_OK):
        return Finding(about, text, f"{Path.cwd()} cannot be written")
    remedy = None
    if usage.free < LEAST_DISK:
        remedy = "less than 5 GiB: `dvc gc -w` removes what no commit needs"
    return Finding(about, text, remedy)
