"""What a run will cost, by hand, and beside what a run does."""

import numpy as np
import pytest
import torch

from cion_core import zoo
from cion_core.errors import CionError
from cion_core.pretrain import stage
from cion_core.pretrain.methods.cion import Cion
from cion_core.pretrain.plan import Plan, plan

BACKBONE = "resnet10_ibn"


def test_a_plan_by_hand(settings):
    p = settings(steps="10 epochs", batch=8, cion={"lr": 0.003, "instances": [(0.0, 2), (0.5, 4)]})
    # Visits: 2 + 2 + 3 at K = 2, 1 + 1 + 2 at K = 4; crops 14 and 16 an epoch.
    counts = np.array([3, 4, 5])
    found = plan(p, "cion", BACKBONE, counts)
    assert found.steps_by_k == [(2, round(5 * 14 / 8)), (4, 10)] and found.crops_shown == 19 * 8
    learner = Cion(p, zoo.create_model(BACKBONE, p.image), 3)
    learning = sum(t.numel() for t in learner.student.parameters())
    assert found.millions == learning / 1e6
    assert found.gigabytes["gradients and optimiser"] == pytest.approx(4 * 3 * learning / 2**30)
    text = found.text(rate=2.0, hours=1.0)
    assert (
        "19 (9 at K = 2, 10 at K = 4), 152 crops shown" in text
        and "at 2 a second: 0.0 hours" in text
    )


def test_shares_of_a_batch_take_less(settings, runtime):
    whole = plan(settings(), "cion", BACKBONE, np.array([8, 8]))
    halves = plan(settings(), "cion", BACKBONE, np.array([8, 8]), processes=2)
    quarters = plan(
        settings(),
        "cion",
        BACKBONE,
        np.array([8, 8]),
        2,
        runtime(accumulate=2, precision="bfloat16"),
    )
    for part, divisor in ((halves, 2), (quarters, 8)):
        assert part.gigabytes["activations"] == pytest.approx(
            whole.gigabytes["activations"] / divisor
        )
    assert whole.steps_by_k == [(2, 2), (4, 4)] and whole.gigabytes["activations"] > 0


def test_activations_are_those_that_a_step_keeps(settings):
    """By hand, the inputs of three linear layers and the outputs of two ReLUs."""
    from cion_core.pretrain.plan import SAMPLE, _activations

    class Plain(torch.nn.Sequential):
        def view_kinds(self):
            return [type("Recipe", (), {"size": (4, 2)})]

        def forward(self, views, instances, identities):
            return super().forward(views[0])

    net = Plain(torch.nn.Flatten(), torch.nn.Linear(24, 7), torch.nn.ReLU(), torch.nn.Linear(7, 5))
    assert _activations(net) == 4 * SAMPLE * (24 + 7)


def test_counts_come_from_the_data_or_from_numbers(data, settings):
    assert stage.counts("cion").tolist() == [7, 5, 5] and stage.counts("dino").sum() == 17
    assert stage.counts("cion", crops=10, identities=3).tolist() == [4, 3, 3]
    with pytest.raises(
        CionError, match=r"'byol'; valid are cion, dino, imagenet, .*, random, tracklet"
    ):
        stage.counts("byol")
    with pytest.raises(CionError, match="random does not train"):
        plan(settings(), "random", BACKBONE, np.array([4]))


@pytest.mark.parametrize(("method", "logits"), [("cion", 2 * 2 * 16), ("lup", 12), ("pnl", 12)])
def test_a_method_says_what_its_loss_holds(settings, method, logits):
    found = plan(settings(), method, BACKBONE, np.array([8, 8]), processes=2)
    assert found.gigabytes["loss"] == pytest.approx(4 * 4 * logits / 2**30)


def test_auto_counts_what_this_machine_would_take(settings, runtime, monkeypatch):
    """On a GPU that is bfloat16, with half the activations."""
    here = plan(settings(), "cion", BACKBONE, np.array([8, 8]), runtime=runtime(device="auto"))
    monkeypatch.setattr("cion_core.pretrain.plan.pick", lambda device: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    there = plan(settings(), "cion", BACKBONE, np.array([8, 8]), runtime=runtime(device="auto"))
    assert there.gigabytes["activations"] == pytest.approx(here.gigabytes["activations"] / 2)


@pytest.mark.parametrize(
    ("method", "published"),
    [("cion", 0.0005 * 8 / 256), ("lup", 0.3 * 8 / 2560), ("pnl", 0.4 * 8 / 1536)],
)
def test_it_says_what_the_published_rule_gives_for_this_batch(settings, method, published):
    text = plan(settings(), method, BACKBONE, np.array([8, 8])).text(None, 1.0)
    assert f"gives {published:g}" in text and "learning rate: 0.0" in text


def test_it_says_how_many_crops_fit():
    gigabytes = {"weights": 1.0, "gradients and optimiser": 2.6, "activations": 8.0, "loss": 2.0}
    text = Plan(1.0, [(2, 10)], 100, gigabytes, share=20, lr=None).text(None, 1.0)
    # 0.9 * 24 - 3.6 = 18 GB for crops of half a GB each
    assert "of 20 here: about 36 in 24 GB, 137 in 80 GB, 247 in 141 GB" in text
