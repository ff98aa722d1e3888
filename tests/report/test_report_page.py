"""The page: all there, carried along whole, always the same bytes, shown by a real browser."""

import re
import shutil
import subprocess

import pytest
from page_reader import Reader, render

from cion_core.report import comparison, stage


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
      const pictures = document.images.length;
      document.title = `pictures ${pictures} broken ${broken} wide ${wide}`; })</script>"""
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
