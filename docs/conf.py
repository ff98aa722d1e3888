"""How Sphinx builds the site: `make docs`."""

from __future__ import annotations

from sphinx.application import Sphinx

project = "CION"
author = "The CION team"
project_copyright = "The CION team. Apache-2.0"

extensions = [
    "myst_parser",  # the pages are Markdown
    "autoapi.extension",  # the reference is read from the sources, which are not imported
    "sphinx.ext.napoleon",  # Args, Returns and Raises
    "sphinxcontrib.mermaid",  # the map of the rooms
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
# Single backticks in docstrings are code, as they are in Markdown.
default_role = "code"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
myst_fence_as_directive = ["mermaid"]
suppress_warnings = [
    "myst.xref_missing",  # links to files of the repository outside docs/
    "ref.python",  # a word in backticks that several classes have as an attribute
    "autoapi.python_import_resolution",  # names that a module imports and that are not public there
]
napoleon_use_ivar = True  # attributes are listed once, in the class's own text

autoapi_dirs = ["../cion_core", "../flows"]
autoapi_root = "reference"
autoapi_ignore = ["*/cli/*"]  # commands explain themselves: `cion --help`
autoapi_options = ["members", "undoc-members", "show-module-summary"]
autoapi_python_class_content = "both"
autoapi_add_toctree_entry = False
autoapi_keep_files = False

html_theme = "furo"
html_title = "CION"


def mark_code(
    app: Sphinx, what: str, name: str, of: object, options: object, lines: list[str]
) -> None:
    """Mark the indented blocks of a docstring as code, which is what they are here.

    Such a block stands behind an empty line, deeper than the text before it.
    """
    marked: list[str] = []
    text = ""  # the last line with anything in it
    for line in lines:
        deeper = _indent(line) >= _indent(text) + 4
        if line.strip() and text and deeper and not marked[-1].strip() and not text.endswith("::"):
            marked += [" " * _indent(text) + "::", ""]
        marked.append(line)
        text = line if line.strip() else text
    lines[:] = marked


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def setup(app: Sphinx) -> None:
    # Before napoleon, which reads Args and Returns.
    app.connect("autodoc-process-docstring", mark_code, priority=100)
