"""Pages from templates: one way to set Jinja up, for all that write HTML."""

from __future__ import annotations

import jinja2


def make_environment(package: str) -> jinja2.Environment:
    """Jinja for the templates that lie in a package.

    Values are escaped, and one that a template names and is not given is an error.

    Args:
        package: by its import path, such as "cion_core.report".
    """
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package, "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
