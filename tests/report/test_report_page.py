"""The page: all there, carried along whole, always the same bytes, shown by a real browser."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from cion_core.denoise import state
from cion_core.denoise.linking.sliding_range import Range
from cion_core.report import comparison, costs, differences, labellings, page, stage, trainings


class Reader(HTMLParser):
    """Collects every tag with its attributes, and checks that tags nest."""

    VOID = ("meta", "link", "img", "br", "use", "path")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def render(root, settings) -> str:
    rows = comparison.read_rows(settings, root)
    certainty, training = (
        differences.measure_certainty(settings, root, rows),
        trainings.read_losses(settings, root),
    )
    cost = costs.read_costs(settings, root)
    return page.render(
        settings, root, rows, certainty, cost, labellings.describe_labellings(root), training
    )


@pytest.fixture(scope="module")
def text(data, settings) -> str:
    return render(data, settings)


def test_every_model_and_section_is_there(text):
    for method in ("stripes", "random", "dino", "tracklet", "cion"):
        assert re.search(rf"<td>{method}\b", text)
    for anchor in (
        "comparison",
        "labels",
        "again",
        "levels",
        "why",
        "retrieval",
        "training",
        "next",
    ):
        assert f'id="{anchor}"' in text and f'href="#{anchor}"' in text
    assert "no &lt;frames&gt; decode" in text  # the reason of a video set aside, escaped
    assert text.count("</code>: 3 shots</li>") == 3
    assert text.count("</code>: of 99 frames 19 lost, 2 damaged</li>") == 3
    assert (
        "Beside the 210 crops that are used: 6 hidden, 9 nearly equal." in text
        and "12 faces were found" in text
    )


def table(text: str, heading: str, number: int = 0) -> list[list[str]]:
    """The cells of a table of a benchmark's part of the page, as text; `*` marks what is bold."""
    part = (
        text[text.index(f"<h3>{heading}</h3>") :].split("<table")[number + 1].split("</table>")[0]
    )
    rows = re.findall(r"<tr.*?</tr>", part.replace("<b>", "*").replace("<small>", " "), re.DOTALL)
    return [
        [
            re.sub(r"<[^>]+>", "", cell).strip()
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
        ]
        for row in rows
    ]


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


def test_each_training_is_drawn_and_every_setting_is_readable(text):
    section = text[text.index('id="training"') :]
    for named in (
        "Pre-training",
        "supervised, bag_of_tricks on demo",
        "adapted, bag_of_tricks on elsewhere after",
    ):
        assert f"<figcaption>{named}" in section
    knobs = dict(re.findall(r"<dt><code>([\w.]+)</code></dt><dd>(.*?)</dd>", section))
    assert knobs["benchmark.sources"] == "demo: demo; elsewhere: demo/elsewhere"
    assert knobs["finetune.runs"].startswith("supervised: bag_of_tricks on demo; unsupervised: ")
    assert knobs["finetune.runs"].endswith("adapted: bag_of_tricks on elsewhere after supervised")


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


def test_tags_nest(text):
    assert Reader(text).open == []


def test_nothing_is_fetched(text):
    assert not re.search(r"https?:|@import|<script|<iframe", text)
    for tag, attributes in Reader(text).tags:
        for name in ("src", "href", "xlink:href", "data", "srcset"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:")), (tag, value[:80])
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))


def test_every_picture_has_an_alternative(text):
    tags = Reader(text).tags
    assert all(a.get("alt") for tag, a in tags if tag == "img")
    assert all(a.get("aria-label") for tag, a in tags if tag == "svg")
    assert any("dropped" in a["alt"] for tag, a in tags if tag == "img")


def test_right_and_wrong_are_framed_and_ticked(text):
    lists = text[text.index('id="retrieval"') : text.index('id="training"')]
    marks = re.findall(r'<figure class="tile (right|wrong)"', lists)
    cion, tracklet = ["right"] * 4 + ["wrong"] * 6, ["wrong"] * 6 + ["right"] * 4
    assert marks == (cion + tracklet) * 4
    assert lists.count('aria-hidden="true">✓') == 4 * 8 + 1  # and once in the key


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


def between(text, first, last) -> str:
    return text[text.index(f'id="{first}"') : text.index(f'id="{last}"')]


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


def test_the_same_inputs_give_the_same_bytes(text, data, settings):
    assert render(data, settings) == text


def test_a_poor_folder_degrades_to_sentences(make_data, tmp_path, settings):
    """No truth, no calibration, nothing but stripes and random, no history."""
    make_data(tmp_path / "data", truth=False)
    for level in ("tracklet", "video", "cross_video"):
        path = tmp_path / f"data/denoise/{level}/audit.json"
        audit = comparison.load_json(path) | {"calibration": None}
        stage.work.write_json(path, audit)
    shutil.rmtree(tmp_path / "data/finetune")
    shutil.rmtree(tmp_path / "data/evaluate/elsewhere")
    benchmark = settings.benchmark.model_copy(update={"sources": {"demo": "demo"}})
    finetune = settings.finetune.model_copy(update={"runs": {}})
    pretrain = settings.pretrain.model_copy(update={"methods": ["random"]})
    sections = {"benchmark": benchmark, "finetune": finetune, "pretrain": pretrain}
    text = render(tmp_path / "data", settings.model_copy(update=sections))
    assert "This footage has no truth" in text
    assert "cion is not among" in text
    assert "Nothing was trained." in text and "What the runs gave" not in text and "▴" not in text
    assert "mAP of random, frozen, where" in text
    assert "Thresholds found from the data" not in text
    assert Reader(text).open == []


BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_browser_shows_every_picture_without_complaint(copy, settings, tmp_path):
    stage.run(settings, copy)
    text = (copy / "reports/index.html").read_text()
    probe = """<script>addEventListener("load", () => {
      const broken = [...document.images].filter(i => !i.naturalWidth).length;
      const wide = document.documentElement.scrollWidth > innerWidth;
      document.title = `pictures ${document.images.length} broken ${broken} wide ${wide}`; })</script>"""
    file = tmp_path / "page.html"
    file.write_text(text.replace("</body>", probe + "</body>"))
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--window-size=1280,900", "--enable-logging=stderr", "--dump-dom",
        f"--user-data-dir={tmp_path / 'profile'}", file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None, done.stderr[-2000:]
    assert title.group(1) == f"pictures {text.count('<img ')} broken 0 wide false"
    assert "CONSOLE" not in done.stderr
