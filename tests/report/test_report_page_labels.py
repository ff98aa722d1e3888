"""The page's part on labels: who comes again, the levels, the Sliding Range, crops' ways."""

import re
import shutil
from dataclasses import replace

from page_reader import between, render

from cion_core.denoise import state
from cion_core.denoise.linking.sliding_range import Range
from cion_core.report import page


def test_who_comes_again_is_told_at_once(text):
    section = between(text, "again", "levels")
    rows = [
        re.sub(r"<[^>]+>", " ", row).split()
        for row in re.findall(r"<tr><td>.*?</tr>", section, re.DOTALL)
    ]
    # three people are linked over all videos: 60, 30 and 27 crops; three of each stay by
    # themselves: 11, 10 and 10
    assert rows == [
        ["1", "video", "9", "75.0", "93", "44.3", "10"],
        ["2", "videos", "0", "0.0", "0", "0.0", "–"],
        ["3–4", "videos", "3", "25.0", "117", "55.7", "30"],
    ]
    assert "These are 25.0 % of the identities, with 55.7 % of the crops" in section
    assert "videos 1: 9, 2: 0, 3–4: 3; tracklets " in section
    assert "Warning" not in text and "55.7 % are of people seen again" in text


def test_where_nobody_comes_again_the_page_warns(copy, settings):
    folder = copy / "denoise"
    shutil.copy(folder / "video/identities.parquet", folder / "cross_video/identities.parquet")
    text = render(copy, settings)
    assert text.count('<b class="says wrong">Warning:</b>') == 2
    assert "hardly anybody is seen in two videos (0.0 % of the identities" in between(
        text, "again", "levels"
    )


def test_each_threshold_is_drawn_with_what_it_was_found_from(text):
    assert "calibration: ② radius 0.210; ② separation 0.150; ③ radius 0.210" in text


def test_the_sliding_range_is_told_and_drawn(text, copy, settings):
    section = between(text, "levels", "why")
    assert "had 2 positions of 12 tracklets, of which two in a row share up to 6." in section
    assert "3 identities reach farther than any one position" in section
    assert "Sliding Range: positions 0 to 11, 6 to 17" in section
    links = state.read_links(copy / "denoise/cross_video/links.npz")
    state.write_links(
        replace(links, positions=Range().bounds(18)), copy / "denoise/cross_video/links.npz"
    )
    whole = between(render(copy, settings), "levels", "why")
    assert (
        "There was one position: the Sliding Range held them all" in whole
        and "reach farther" not in whole
    )


def test_a_few_crops_are_followed_through_the_levels(text):
    section = text[text.index('id="why"') : text.index('id="retrieval"')]
    ways = section.split('<section class="way">')[1:]
    assert len(ways) == 5 and "<code>cion why CROP</code>" in section
    for way in ways:
        assert [mark for mark in "①②③" if f"<b>{mark}" in way] == list("①②③")
        assert 'class="tile query"' in way and "<b>Not put with</b>" in way
    assert 'class="tile apart" title="seen together' in section
    assert '<span class="says moved">↷ moved</span>' in section


def test_distances_are_held_against_the_separation_where_links_go_by_it(
    text, data, settings, monkeypatch
):
    reciprocal = "Level ③ goes by the neighbours"
    published = settings.denoise.model_copy(update={"linking": "published"})
    links = replace(state.read_links(data / "denoise/cross_video/links.npz"), rule="published")
    monkeypatch.setattr(state, "read_links", lambda _: links)
    other = render(data, settings.model_copy(update={"denoise": published}))
    assert reciprocal in text and reciprocal not in other
    assert other.count("separation 0.150") > text.count("separation 0.150")


def test_where_nothing_happened_no_crop_is_followed(data, settings, monkeypatch):
    monkeypatch.setattr(page.crop_stories, "choose_crops", lambda *_: {})
    assert "No crop was dropped, moved, linked or held apart." in render(data, settings)
