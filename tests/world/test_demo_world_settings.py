from pathlib import Path

import pytest
import yaml

from cion_core.errors import CionError
from demo_world import load_world

DEMO = Path(__file__).parents[2] / "demo/world.yaml"
ELSEWHERE = DEMO.parent / "elsewhere/world.yaml"


def _write(folder: Path, change) -> Path:
    values = yaml.safe_load(DEMO.read_text())
    change(values)
    path = folder / "world.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_the_demo_has_a_world():
    assert load_world(DEMO).videos.people > 0


def test_elsewhere_is_another_world_with_a_benchmark_alone():
    here, there = load_world(DEMO), load_world(ELSEWHERE)
    assert there.videos is None and there.seed != here.seed
    assert there.benchmark.train_people == there.benchmark.test_people == 60
    assert there.benchmark.cameras != here.benchmark.cameras
    # No camera there shows colours as one here does.
    assert there.look.saturation[0] > here.look.saturation[1]


def test_a_world_that_is_not_there(tmp_path):
    with pytest.raises(CionError, match=r"world\.yaml: no such file"):
        load_world(tmp_path / "world.yaml")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["videos"].update(peple=3), ["videos.peple", "unknown key", "people"]),
        (lambda v: v.update(vidoes={}), ["vidoes", "unknown key", "videos"]),
        (lambda v: v["videos"].pop("seconds"), ["videos.seconds"]),
        (lambda v: v["videos"].update(people=0), ["videos.people", "found 0"]),
        (lambda v: v["look"].update(gain=[1.2, 0.8]), ["look.gain", "lower end first"]),
        (lambda v: v["look"].update(shadow=[0.6, 0.3]), ["look.shadow", "lower end first"]),
        (lambda v: v["look"].update(drift=1.5), ["look.drift", "found 1.5"]),
        (lambda v: v["benchmark"].update(cameras=1), ["benchmark.cameras", "found 1"]),
        (
            lambda v: v["benchmark"]["light"].update(gain=[1.2, 0.8]),
            ["benchmark.light.gain", "lower end first"],
        ),
        (lambda v: v["videos"].update(count=2, cameras=3), ["videos", "without a video"]),
        (lambda v: v["videos"].update(appearances=[0, 0]), ["appearances"]),
    ],
)
def test_an_error_names_file_and_key(tmp_path, change, words):
    with pytest.raises(CionError) as error:
        load_world(_write(tmp_path, change))
    for word in [str(tmp_path / "world.yaml"), *words]:
        assert word in str(error.value)


@pytest.mark.parametrize("text", ["seed: [", "", "- 1\n"])
def test_what_is_no_mapping_is_an_error(tmp_path, text):
    (tmp_path / "world.yaml").write_text(text)
    with pytest.raises(CionError, match=r"world\.yaml"):
        load_world(tmp_path / "world.yaml")


def test_generators_depend_on_seed_and_name_alone():
    world = load_world(DEMO)
    draw = world.rng("person", 3).random(4)
    assert (world.rng("person", 3).random(4) == draw).all()
    assert (world.rng("person", 4).random(4) != draw).all()
    other = world.model_copy(update={"seed": world.seed + 1})
    assert (other.rng("person", 3).random(4) != draw).all()
