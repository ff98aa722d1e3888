"""CION without the cross-video level: what linking across videos adds is the difference to this."""

from cion_core.pretrain.methods.cion import Cion


class Tracklet(Cion):
    """Identities as they are after denoising within each video."""

    labels = "video"
