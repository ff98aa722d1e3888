"""CION without the cross-video level: what linking across videos adds is the difference to this.

In spite of its name it goes by level ② (`video`): tracklets of one person in one video are joined.
"""

from cion_core.pretrain.methods.cion import Cion
from cion_core.registry import Style


class Tracklet(Cion):
    """Identities as they are after denoising within each video."""

    about = "CION’s loss on identities of single videos (levels ① ②)"
    style = Style("#23a08c", (0, (8, 1.5)))
    labels = "video"
