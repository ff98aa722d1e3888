"""The names of the zoo, known without importing torch."""

from __future__ import annotations

STRUCTURES = {
    "GhostNet": ("ghostnet_0_5", "ghostnet_1_0", "ghostnet_1_3"),
    "EdgeNeXt": ("edgenext_x_small", "edgenext_small", "edgenext_base"),
    "RepViT": ("repvit_m0_9", "repvit_m1_0", "repvit_m1_5"),
    "FastViT": ("fastvit_s12", "fastvit_sa12", "fastvit_sa24"),
    "ResNet": ("resnet18", "resnet50", "resnet101", "resnet152"),
    "ResNet-IBN": ("resnet18_ibn", "resnet50_ibn", "resnet101_ibn", "resnet152_ibn"),
    "ConvNeXt": ("convnext_tiny", "convnext_small", "convnext_base"),
    "VOLO": ("volo_d1", "volo_d2", "volo_d3"),
    "ViT": ("vit_tiny", "vit_small", "vit_base"),
    "Swin": ("swin_tiny", "swin_small", "swin_base"),
}
ZOO = tuple(name for names in STRUCTURES.values() for name in names)
DEMO = "resnet10_ibn"  # not one of the 32: small enough to learn on two CPU cores in minutes

_RECIPES = ("bagtricks", "sbs", "mgn")
_DEPTHS = ("r50", "r50_ibn", "r101", "r101_ibn")
# What people bring checkpoints of: torchreid's OSNets, and fast-reid's models (`fastreid.py` says
# what a name means).
BROUGHT = {
    "OSNet": (
        "osnet_x1_0",
        "osnet_x0_75",
        "osnet_x0_5",
        "osnet_x0_25",
        "osnet_ibn_x1_0",
        "osnet_ain_x1_0",
    ),
    "fast-reid": (
        *(f"fastreid_{recipe}_{depth}" for recipe in _RECIPES for depth in _DEPTHS),
        *(f"fastreid_sbs_{depth}_half" for depth in _DEPTHS),
    ),
}
# Every backbone that is built here; timm has more.
BACKBONES = (DEMO, *ZOO, *(name for names in BROUGHT.values() for name in names))


def structure_of(name: str) -> str | None:
    """The structure that a backbone is of.

    Args:
        name: of a backbone, the zoo's or timm's.

    Returns:
        A key of `STRUCTURES` or `BROUGHT`; None for the demo's backbone and for timm's.
    """
    families = STRUCTURES | BROUGHT
    return next((structure for structure, names in families.items() if name in names), None)


def check(name: str) -> str:
    """Check that there is a backbone of this name.

    Args:
        name: of a backbone, the zoo's or timm's.

    Returns:
        `name`.

    Raises:
        ValueError: neither the zoo nor timm has it; lists the zoo's names.
    """
    if name in BACKBONES:
        return name
    from cion_core import compat  # noqa: F401, I001  before timm
    import timm

    if timm.is_model(name):
        return name
    raise ValueError(
        f"unknown backbone {name!r}; valid: {', '.join(BACKBONES)}, or any model name of timm"
    )
