"""`cion doctor`: what this installation has, what is wrong with it, and what to do about it.

Each check looks at one thing by itself: what is broken is a finding, and the others are still made.
Nothing is downloaded or started, and a server gets two seconds to answer.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path

import psutil

from cion_core import params, project
from cion_core.errors import CionError

GIB = 2**30
LEAST_DISK, LEAST_MEMORY = 5 * GIB, 4 * GIB  # below these a demo hardly runs
ANSWER_SECONDS = 2.0  # that a server has
DVC_SECONDS = 60.0  # that `dvc` has
CODECS = ("h264", "hevc", "av1", "vp9", "mpeg4", "mjpeg")  # those that cameras and archives use
EXTRAS = {  # what an extra brings, and what it is for
    "onnx, export": ("onnx", "onnxscript", "onnxruntime"),
    "yolo": ("ultralytics", "lap"),
}


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        about: what was looked at.
        text: what is there.
        remedy: what is wrong with it, and what to do; None where nothing is.
    """

    about: str
    text: str
    remedy: str | None = None

    def __str__(self) -> str:
        line = f"{'  ' if self.remedy is None else '! '} {self.about:<8} {self.text}"
        return line if self.remedy is None else f"{line}\n            -> {self.remedy}"


def examine() -> Iterator[Finding]:
    """All findings, in order, each as soon as it is made."""
    for about, check in CHECKS.items():
        try:
            yield check(about)
        # a broken installation raises anything, and the other checks must still be made
        except Exception as error:
            yield Finding(
                about,
                f"does not work: {_first_line(error)}",
                "run `make setup`, or install it again",
            )


def python(about: str) -> Finding:
    """The interpreter and the machine."""
    memory = psutil.virtual_memory().total
    text = f"{platform.python_version()}, {os.cpu_count()} cores, {memory / GIB:.0f} GiB of memory"
    return Finding(
        about, text, "less than 4 GiB: large videos may not fit" if memory < LEAST_MEMORY else None
    )


def torch(about: str) -> Finding:
    """PyTorch, and the device that `runtime.device: auto` means here."""
    from cion_core import compat  # before torchvision: it mends the import where the builds differ
    from cion_core.zoo import device

    library = importlib.import_module("torch")
    where = device.pick("auto")
    name = library.cuda.get_device_name(0) if where.type == "cuda" else "no GPU that torch sees"
    mended = (
        "" if compat._kept is None else ", beside a torchvision of another build (worked around)"
    )
    text = f"{library.__version__}, runs on {where.type} ({name}){mended}"
    has_gpu = shutil.which("nvidia-smi") is not None and where.type == "cpu"
    return Finding(
        about,
        text,
        "there is a GPU, but this torch is a CPU build; install one for CUDA" * has_gpu or None,
    )


def faiss(about: str) -> Finding:
    """Which build of the library of exact search."""
    builds = [name for name in ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12") if _version(name)]
    if not builds:
        return Finding(
            about,
            "not installed",
            "pip install 'cion[cpu]', or 'cion[gpu]' on a machine with a GPU",
        )
    text = " and ".join(f"{name} {_version(name)}" for name in builds)
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
    return Finding(
        about, text, f"no decoder for {', '.join(absent)}; convert such clips" if absent else None
    )


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
        if _version(name)
    ]
    text = f"OpenCV {cv2.__version__} reads {', '.join(there)}, BMP"
    wrong = f"{' and '.join(doubled)} overwrite one another: keep one" if len(doubled) > 1 else None
    return Finding(about, text, wrong)


def extras(about: str) -> Finding:
    """Optional parts; that one is absent is no fault."""
    told = []
    for name, packages in EXTRAS.items():
        absent = [package for package in packages if importlib.util.find_spec(package) is None]
        told.append(f"{name}: {'no ' + ', '.join(absent) if absent else 'yes'}")
    if importlib.util.find_spec("onnxruntime"):
        providers = importlib.import_module("onnxruntime").get_available_providers()
        told.append(
            "onnxruntime on "
            + ", ".join(name.removesuffix("ExecutionProvider") for name in providers)
        )
    return Finding(about, "; ".join(told))


def mlflow(about: str) -> Finding:
    """Where runs are recorded, and whether a server answers there."""
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not address.startswith(("http://", "https://")):
        return Finding(
            about, f"{_version('mlflow')}, records into {address or 'mlflow.db of this folder'}"
        )
    wrong = _unreachable(f"{address.rstrip('/')}/health")
    return Finding(
        about,
        f"{_version('mlflow')}, records at {_without_password(address)}: {wrong or 'answers'}",
        wrong
        and "start the server, or correct MLFLOW_TRACKING_URI; runs are kept meanwhile, for `cion "
        "track sync`",
    )


def prefect(about: str) -> Finding:
    """Which server flows report to."""
    address = os.environ.get("PREFECT_API_URL", "")
    if not address:
        return Finding(
            about,
            f"{_version('prefect')}, no PREFECT_API_URL: each flow starts a server of its own",
        )
    wrong = _unreachable(f"{address.rstrip('/')}/health")
    text = f"{_version('prefect')}, reports to {_without_password(address)}: {wrong or 'answers'}"
    return Finding(
        about, text, wrong and "start it (`make prefect`), or correct or unset PREFECT_API_URL"
    )


def disk(about: str) -> Finding:
    """Room in this folder, and whether it can be written."""
    usage = shutil.disk_usage(".")
    text = f"{usage.free / GIB:.0f} of {usage.total / GIB:.0f} GiB free in this folder"
    if not os.access(".", os.W_OK):
        return Finding(about, text, f"{Path.cwd()} cannot be written")
    return Finding(
        about,
        text,
        "less than 5 GiB: `dvc gc -w` removes what no commit needs" * (usage.free < LEAST_DISK)
        or None,
    )


def settings(about: str) -> Finding:
    """Whether params.yaml is valid, in our words: DVC reads it first, and has its own."""
    try:
        found = project.load(params.FILE)
    except CionError as error:
        first, *rest = str(error).splitlines()
        return Finding(
            about, "not valid", "; ".join([first.rstrip(":"), *(line.strip() for line in rest)])
        )
    methods = ", ".join(found.pretrain.methods)
    return Finding(
        about,
        f"valid: videos of {found.ingest.source}, {found.embed.model}, pre-trained by {methods}",
    )


def dvc(about: str) -> Finding:
    """Whether dvc.yaml can be read, what is done, and where outputs go."""
    if not Path("dvc.yaml").is_file():
        return Finding(
            about, f"{_version('dvc')}, no dvc.yaml here", "run it in the project's folder"
        )
    if not Path(".dvc").is_dir():
        return Finding(
            about,
            f"{_version('dvc')}, no folder .dvc",
            "run `dvc init`, or `git clone` the project anew",
        )
    command = [sys.executable, "-m", "dvc", "stage", "list", "--name-only"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=DVC_SECONDS)
    if listed.returncode:
        return Finding(
            about,
            f"{_version('dvc')} cannot read the pipeline: {_last_line(listed.stderr)}",
            "mend params.yaml first, if it is not valid; then dvc.yaml",
        )
    stages = len(listed.stdout.split())
    lock = "a dvc.lock" if Path("dvc.lock").is_file() else "no dvc.lock yet"
    remotes = _remotes()
    remote = (
        f"remote {', '.join(remotes)}" if remotes else "no remote: outputs stay on this machine"
    )
    return Finding(about, f"{_version('dvc')}, {stages} stages, {lock}, {remote}")


CHECKS: dict[str, Callable[[str], Finding]] = {
    "python": python,
    "torch": torch,
    "faiss": faiss,
    "video": video,
    "images": images,
    "extras": extras,
    "mlflow": mlflow,
    "prefect": prefect,
    "disk": disk,
    "params": settings,
    "dvc": dvc,
}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _has_codec(av: object, name: str, mode: str) -> bool:
    try:
        av.Codec(name, mode)
    except Exception:  # PyAV has an error class of its own for each version
        return False
    return True


def _unreachable(address: str) -> str | None:
    """Why a server does not answer; None where it does. One that asks for a password is there."""
    try:
        urllib.request.urlopen(address, timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError as error:
        return None if error.code in (401, 403) else f"answers with error {error.code}"
    except (OSError, ValueError) as error:
        return f"no answer ({_first_line(getattr(error, 'reason', error))})"
    return None


def _without_password(address: str) -> str:
    """An address as it may be shown."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _remotes() -> list[str]:
    """The names of DVC's remotes in this project."""
    names = []
    for file in (Path(".dvc/config"), Path(".dvc/config.local")):
        parser = ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(file)
        except ConfigError:
            continue
        names += [section.split('"')[1] for section in parser.sections() if section.count('"') == 2]
    return sorted(set(names))


def _first_line(error: object) -> str:
    return (str(error) or type(error).__name__).strip().partition("\n")[0]


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("ERROR")]
    return (lines or ["it gives no reason"])[-1].removeprefix("ERROR: ")
