"""The labelling that each level has left."""

from __future__ import annotations

import pytest

from cion_core.report import labellings


def test_labellings_start_with_the_tracklets(data):
    states = labellings.describe_labellings(data)
    assert [s["level"] for s in states] == [None, "tracklet", "video", "cross_video"]
    assert [s["crops"] for s in states] == [210, 207, 210, 210]
    assert states[0]["identities"] == 21
    assert states[0]["noise"]["outside"] == 9 and states[1]["noise"]["outside"] == 0
    assert states[0]["truth"]["crops"]["recall"] == pytest.approx(0.2)
    assert states[3]["truth"]["crops"]["recall"] == pytest.approx(0.5)
