"""Views that are drawn for tests, and pictures in the forms that they are compared in."""

import numpy as np
import torch

from cion_core.pretrain import views_on_cpu
from cion_core.pretrain.settings import Views
from cion_core.pretrain.views import BatchViewParameters, ViewParameters, draw_parameters

# With these, views stay between 0 and 255.
PLAIN_COLOURS = torch.tensor([[0.0] * 3, [1.0] * 3, views_on_cpu.FILL])
PUBLISHED = Views(jitter=0.8, grey=0.2, blur=(1.0, 0.1, 0.5), solarise=0.2, local_scale=(0.05, 0.8))


def theirs(function, image: np.ndarray, *args) -> np.ndarray:
    """torchvision's operation in float on [0, 1]; float64 0 to 255 [H, W, 3]."""
    tensor = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    return function(tensor, *args).permute(1, 2, 0).double().numpy() * 255


def rows(image: np.ndarray) -> torch.Tensor:
    """One picture as `device_operations` lays it out: [1, H, 3, W]."""
    return torch.from_numpy(image).permute(0, 2, 1)[None].float()


def pixels(x: torch.Tensor) -> np.ndarray:
    """The other way round: [H, W, 3]."""
    return x[0].permute(0, 2, 1).numpy()


def many(shape, kind, count, seed=0) -> BatchViewParameters:
    """So many views of crops of one shape, [count, 1]."""
    seeds = np.random.SeedSequence(seed).spawn(count)
    return draw_parameters([shape] * count, [kind], [np.random.default_rng(own) for own in seeds])


def one(shape, kind, rng) -> ViewParameters:
    """A view of one crop."""
    return draw_parameters([shape], [kind], [rng]).per_view()[0][0]


def made(image, kind, rng) -> np.ndarray:
    """A view of an image, as OpenCV makes it."""
    return views_on_cpu.make_view(image, kind, one(image.shape[:2], kind, rng))
