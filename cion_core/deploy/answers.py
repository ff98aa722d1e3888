"""The answer of a search, for a terminal and as a page."""

from __future__ import annotations

import html
from pathlib import Path

from cion_core.deploy.search import Answer
from cion_core.errors import printable
from cion_core.images import read_image

PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title>
<style>body{{font:14px sans-serif;margin:2em}}
section{{display:flex;flex-wrap:wrap;gap:12px}}figure{{margin:0}}
figcaption{{font-size:11px;max-width:112px;overflow-wrap:anywhere}}.far{{opacity:.35}}</style>
<h1>{title}</h1><h2>Query</h2>{query}<h2>Nearest first</h2><section>{found}</section>
"""


def to_text(answer: Answer) -> str:
    """The ranked list for a terminal, below a line that says whether anybody is there."""
    lines = [say_who_is_there(answer)]
    ranked = zip(answer.paths, answer.distances, strict=True)
    for rank, (path, distance) in enumerate(ranked, start=1):
        lines.append(f"{rank:>4}  {distance:.4f}  {printable(path)}")
    return "\n".join(lines)


def say_who_is_there(answer: Answer) -> str:
    """One line: somebody, nobody, or that it is not known."""
    if answer.limit is None:
        unknown = "no threshold was learnt for this model"
        return f"{unknown}: the nearest images, whether or not anybody is there"
    if answer.nobody:
        return f"nobody here: the nearest image is farther than {answer.limit:.4f}"
    within = int((answer.distances <= answer.limit).sum())
    return f"somebody here: {within} of these images are nearer than {answer.limit:.4f}"


def to_page(answer: Answer) -> str:
    """The ranked list as one HTML page, pictures included; those beyond the threshold are pale."""
    figures = []
    ranked = zip(answer.paths, answer.distances, strict=True)
    for rank, (path, distance) in enumerate(ranked, start=1):
        is_far = answer.limit is not None and distance > answer.limit
        caption = f"{rank} · {distance:.3f} · {path.name}"
        figures.append(_draw_figure(path, caption, is_far))
    return PAGE.format(
        title=html.escape(say_who_is_there(answer)),
        query=_draw_figure(answer.query, answer.query.name, is_far=False),
        found="".join(figures),
    )


def _draw_figure(path: Path, caption: str, is_far: bool) -> str:
    """An image and its caption, as HTML."""
    # Plots and tables load with it, so only where a page is asked for.
    from cion_core.report.sheets import picture

    image = f'<img src="{picture(read_image(path))}" alt="">'
    text = html.escape(printable(caption))
    style = " class=far" if is_far else ""
    return f"<figure{style}>{image}<figcaption>{text}</figcaption></figure>"
