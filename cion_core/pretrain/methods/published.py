"""Weights that somebody has published, such as ReIDZoo's, as they are."""

from __future__ import annotations

from pathlib import Path

from cion_core.errors import CionError
from cion_core.pretrain.methods.base import ExternalWeights
from cion_core.registry import Style


class Published(ExternalWeights):
    """The weights of a file, in any form that `zoo.load_weights` reads; nothing in it is executed.

    Images are normalised by ImageNet's mean and deviation, as those were that CION, LUP and ReIDZoo
    have trained on.
    """

    about = "Weights of a file, such as a checkpoint of ReIDZoo"
    style = Style("#5b7f3a", (0, (2, 2)))

    def weights(self, backbone: str) -> tuple[Path, str]:
        files = self.settings.files
        if backbone not in files:
            raise CionError(
                f"pretrain.{self.name}.files: no {backbone}; name the file of its weights there, "
                f"as {{{backbone}: FILE}} (there are: {', '.join(files) or 'none'})"
            )
        return Path(files[backbone]), files[backbone]
