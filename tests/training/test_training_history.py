"""History on disk: appended to, cut back to where a checkpoint is, and never guessed."""

import pytest

from cion_core.errors import CionError
from cion_core.runtime import Runtime
from cion_core.training.checkpoint import Checkpoints
from cion_core.training.history import FILE, History

ROWS = [
    {"step": step, "loss": 1 / (step + 3), "watched": float("nan") if step else 0.1}
    for step in range(4)
]


def written(folder, rows):
    history = History(folder)
    for row in rows:
        history.append(row)
    return history, history.write()


def test_rows_come_back_bit_for_bit(tmp_path):
    _, length = written(tmp_path, ROWS)
    resumed = History(tmp_path)
    resumed.resume(4, length, owner=0)
    assert [row["loss"] for row in resumed.rows] == [row["loss"] for row in ROWS]
    assert str(resumed.rows) == str(ROWS), "NaN as well, which is not equal to itself"


def test_what_was_written_behind_a_checkpoint_is_cut_off(tmp_path):
    history, length = written(tmp_path, ROWS[:2])
    for row in ROWS[2:]:
        history.append(row)
    assert history.write() > length
    resumed = History(tmp_path)
    resumed.resume(2, length, owner=0)
    resumed.append({"step": 2, "loss": 7.0})
    resumed.write()
    again = History(tmp_path)
    again.resume(3, (tmp_path / FILE).stat().st_size, owner=0)
    assert [row["loss"] for row in again.rows] == [ROWS[0]["loss"], ROWS[1]["loss"], 7.0]


def test_a_step_is_written_once(tmp_path):
    history, _ = written(tmp_path, ROWS[:3])
    before = (tmp_path / FILE).read_bytes()
    history.append(ROWS[3])
    history.write()
    after = (tmp_path / FILE).read_bytes()
    assert after.startswith(before) and len(after.splitlines()) == 4


def test_a_history_that_is_not_the_checkpoints_is_an_error(tmp_path):
    _, length = written(tmp_path, ROWS)
    path = tmp_path / FILE
    whole = path.read_bytes()
    for damaged in (whole[:-5], b"", b"x" * length):
        path.write_bytes(damaged)
        with pytest.raises(
            CionError, match=r"history\.jsonl: holds \d+ of the 4 rows .* remove the folder"
        ):
            History(tmp_path).resume(4, length, owner=0)


def test_a_checkpoint_does_not_grow_with_the_steps(tmp_path):
    import torch
    from test_training_loop import Line, Steps, train

    sizes = []
    for steps in (2, 40):
        folder = tmp_path / str(steps)
        list(
            train(
                Line(),
                Steps([1.0] * steps),
                steps,
                torch.device("cpu"),
                Checkpoints(folder),
                Runtime(),
            )
        )
        sizes.append(Checkpoints(folder).files()[-1].stat().st_size)
    assert abs(sizes[1] - sizes[0]) < 200
