"""The page's part on benchmarks: states and signs, gains, charts, published numbers."""

import re

from page_reader import Reader, render, table

from cion_core.report import comparison, stage


def test_each_benchmark_has_a_table_of_states_with_signs_and_intervals(text):
    (method, saw, frozen, supervised), names, *lines = table(text, "demo")
    assert (method, frozen) == ("Method", "frozen as pre-training left it")
    assert saw == "pre-training what it learnt from,and how long" and names[:3] == [
        "Images",
        "Identities",
        "CPU time",
    ]
    assert supervised == "supervised bag_of_tricksfine-tuned on demo" and names[3:] == 2 * [
        "mAP",
        "Rank-1",
    ]
    assert [line[1:4] for line in lines] == [
        ["–", "–", "–"], ["0", "–", "0.0 min"], ["207", "–", "11.7 min"],
        ["207", "18", "11.7 min"], ["207", "12", "11.7 min"],
    ]  # fmt: skip
    stripes, random, _, tracklet, cion = ([line[0], *line[4:]] for line in lines)
    assert stripes[3:] == ["–", "–"], "features without a backbone are not trained further"
    assert re.fullmatch(r"▾9\.9 [\d.]+–[\d.]+", stripes[1]) and re.match(r"▾14\.1 ", random[1])
    assert re.fullmatch(r"28\.9 [\d.]+–[\d.]+", tracklet[1]), (
        "by chance no farther from cion than this"
    )
    assert cion[0] == "cion resnet10_ibn What cion does"
    assert re.match(r"\*29\.1 ", cion[1]) and re.match(r"\*59\.1 ", cion[3])


def test_what_was_trained_for_another_benchmark_stands_last_and_soft(text):
    head = table(text, "elsewhere")[0]
    assert head[2:] == [
        "frozen as pre-training left it",
        "unsupervised bag_of_trickswithout labels, on elsewhere",
        "adapted bag_of_tricksadapted without labels, demo → elsewhere",
        "supervised bag_of_trickstrained on demo alone",
    ]
    part = text[text.index("<h3>elsewhere</h3>") :].split("<table")[1].split("</table>")[0]
    soft = [
        ["away" in cell for cell in re.findall(r"<t[hd][^>]*", row)]
        for row in part.split("<tr")[1:]
    ]
    assert soft[0] == [False] * 5 + [True], "the head of the last group"
    assert soft[1:] == [[False] * 9 + [True] * 2] + [[False] * 10 + [True] * 2] * 5, (
        "its two columns"
    )


def test_below_the_table_stand_all_scores_and_costs_of_all_runs(text):
    head, *rows = table(text, "demo", 1)
    assert head[3:8] == ["mAP", "Rank-1", "Rank-5", "Rank-10", "mINP"] and len(rows) == 17
    assert head[8:] == [
        "Images",
        "Identities",
        "Steps",
        "Crops seen",
        "CPU time",
        "Parameters",
        "FLOPs",
        "Latency, ms",
    ]
    adapted = next(row[8:] for row in rows if row[:2] == ["cion resnet10_ibn", "adapted"])
    assert adapted == ["207", "12", "700", "22.4 k", "17.7 min", "4.9 M", "112.0 M", "3.2"], (
        "with both of its runs"
    )
    assert ["cion resnet10_ibn", "adapted", "transferred"] in [row[:3] for row in rows]


def test_what_each_run_gave_is_told_against_its_start(text):
    head, *rows = table(text, "elsewhere", 2)
    assert head == [
        "Model",
        "unsupervised against frozen",
        "adapted against supervised",
        "supervised against frozen",
    ]
    assert [row[0].split()[0] for row in rows] == ["random", "dino", "tracklet", "cion"]
    gained = [re.sub(" .*", "", cell) for cell in rows[-1][1:]]
    assert gained == ["▴+9.0", "▴+15.3", "▴+2.7"]
    assert re.search(r" \+[\d.]+ to \+[\d.]+$", rows[-1][1])


def test_a_sentence_says_how_far_cion_stands_from_the_others(text):
    said = re.findall(r"<li><b>(.*?)</b>, on (.*?): cion (.*?)</li>", text)
    assert [(state, benchmark) for state, benchmark, _ in said] == [
        ("frozen", "demo"), ("supervised", "demo"),
        ("frozen", "elsewhere"), ("unsupervised", "elsewhere"), ("adapted", "elsewhere"),
    ]  # fmt: skip
    numbers = re.sub(r" \([\d.]+ to [\d.]+\)", "", said[0][2])
    assert numbers == (
        "stands 19.2 above stripes, 15.0 above random and 10.0 above dino, "
        "and is no more apart from tracklet than chance would have it."
    )
    assert (
        "<b>+0.2</b><span>mAP points against tracklet,<br>the best of the other methods:<br>may "
        "be chance" in text
    )


def test_charts_of_certainty_open_set_search_and_cameras_are_there(text):
    charts = [a["aria-label"] for tag, a in Reader(text).tags if tag == "svg"]
    assert (
        sum(label.startswith("mAP with intervals: stripes frozen 9.9 (") for label in charts) == 1
    )
    assert sum(label.startswith("mAP with intervals: ") for label in charts) == 2
    curves = [label for label in charts if label.startswith("TPIR against FPIR: ")]
    assert len(curves) == 2 and "stripes" in curves[0] and "stripes" not in curves[1]
    assert (
        "<figcaption>Frozen.</figcaption>" in text
        and "<figcaption>After the run supervised.</figcaption>" in text
    )
    assert (
        "mAP of cion after supervised, where" in text and "mAP of cion after adapted, where" in text
    )
    assert (
        text.count('<table class="cameras">') == 2
        and 'title="camera 1 searched in camera 2: 24 queries' in text
    )


def test_published_numbers_stand_apart_where_a_benchmark_holds_what_they_were_measured_on(
    text, copy, settings
):
    assert "Published on" not in text
    path = copy / "benchmark/elsewhere/benchmark.json"
    market = {"people": {"train": 751, "test": 750}, "cameras": 6,
              "images": {"train": 12936, "query": 3368, "gallery": 15913}}  # fmt: skip
    stage.work.write_json(path, comparison.load_json(path) | market)
    told = render(copy, settings)
    assert told.count("<h4>Published on Market-1501</h4>") == 1
    head, *rows = table(told, "elsewhere", 2)
    assert head[3:] == ["mAP", "Rank-1", "Source", "Ours: mAP, Rank-1"]
    assert ["LUP", "ResNet50", "MGN@384", "91.1", "96.3", "LUPerson README", "–"] in rows
    assert table(told, "elsewhere") == table(text, "elsewhere"), (
        "and none of them is ranked among ours"
    )


def test_right_and_wrong_are_framed_and_ticked(text):
    lists = text[text.index('id="retrieval"') : text.index('id="training"')]
    marks = re.findall(r'<figure class="tile (right|wrong)"', lists)
    cion, tracklet = ["right"] * 4 + ["wrong"] * 6, ["wrong"] * 6 + ["right"] * 4
    assert marks == (cion + tracklet) * 4
    assert lists.count('aria-hidden="true">✓') == 4 * 8 + 1  # and once in the key
