"""HTML pages from the templates of this folder."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_ENVIRONMENT = Environment(
    loader=PackageLoader("segtron.visualization"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_page(template: str, **values: Any) -> str:
    """Fill in a template; what of the values is text is escaped.

    Args:
        template: a file of the folder `templates`.
        **values: what it asks for, all of it.
    """
    return _ENVIRONMENT.get_template(template).render(**values)
