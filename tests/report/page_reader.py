"""The page of a data folder, and what is read out of it: tags, tables, sections."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from cion_core.project import Params
from cion_core.report import comparison, costs, differences, labellings, page, trainings


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


def render(root: Path, settings: Params) -> str:
    """The page of the folder `root`."""
    rows = comparison.read_rows(settings, root)
    certainty = differences.measure_certainty(settings, root, rows)
    training = trainings.read_losses(settings, root)
    cost = costs.read_costs(settings, root)
    return page.render(
        settings, root, rows, certainty, cost, labellings.describe_labellings(root), training
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


def between(text: str, first: str, last: str) -> str:
    """The page from one section up to another."""
    return text[text.index(f'id="{first}"') : text.index(f'id="{last}"')]
