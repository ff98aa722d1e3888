"""`cion identities`: another confidence on what the stages and the file command left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cion_core import project as whole
from cion_core import tables
from cion_core.denoise import stage, state


def test_identities_of_the_stages_at_a_confidence(root: Path, params: Path, cion: Callable) -> None:
    code, output = cion("identities", "--confidence", 0.9)
    assert code == 1 and "denoise/video/identities.parquet: no such file" in output
    p = whole.load(params).denoise
    for level in tables.LEVELS:
        stage.run(p, level, root=root)
    want = tables.read(tables.Identities, root / "denoise/cross_video/identities.parquet")
    code, output = cion("identities", "--confidence", 0, "--out", "some.parquet")
    assert code == 0, output
    pd.testing.assert_frame_equal(tables.read(tables.Identities, "some.parquet"), want)
    crops = tables.read(tables.Crops, root / "tracklets/crops.parquet")
    videos = want.merge(crops, on="crop").groupby("identity").video.nunique()
    links = state.read_links(root / "denoise/cross_video/links.npz")
    assert (
        f"at confidence 0: {len(videos)} identities, of which {(videos > 1).sum()} are seen in "
        "two videos" in output
    )
    assert f"; 0 of {len(links.merges)} links are cut, written to some.parquet" in output
    state.write_links(
        replace(links, probability=np.full(len(links.merges), 0.5)),
        root / "denoise/cross_video/links.npz",
    )
    code, output = cion("identities", "--confidence", 0.6)
    n = len(links.merges)
    assert (
        code == 0
        and "of which 0 are seen in two videos" in output
        and f"{n} of {n} links are cut" in output
    )
    assert cion("identities", "--confidence", 1.5)[0] == 2
    code, output = cion("identities", "--confidence", 0.6, "--root", "nowhere")
    assert code == 1 and "nowhere: holds neither tracklets/crops.parquet" in output


def test_of_files_of_ones_own(here: Path, cion: Callable) -> None:
    words = ("denoise", "--crops", "crops.parquet", "--features", "features.npy", "--out", "out")
    assert cion(*words, "--cross-video-separation", 0.5)[0] == 0
    code, output = cion("identities", "--confidence", 0.5, "--root", "out")
    assert code == 1 and "out/links.npz: nothing is known of how sure the links are" in output
    code, output = cion("identities", "--confidence", 0, "--root", "out", "--out", "some.parquet")
    assert code == 0, output
    same = [
        tables.read(tables.Identities, path) for path in ("some.parquet", "out/identities.parquet")
    ]
    pd.testing.assert_frame_equal(*(table.sort_values("crop", ignore_index=True) for table in same))
