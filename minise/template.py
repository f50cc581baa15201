"""Pages from Jinja2 templates, `*.html.j2`, each in the folder of the room that fills it in.

Whatever a template shows is escaped, so a name with < in it stays text; only where a template says
`| safe` does HTML pass, and there it is minise's own.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

ROOT = Path(__file__).parent


def render(name: str, **values: Any) -> str:
    """The page that a template makes of `values`.

    name  of the template, from minise's own folder: "report/report.html.j2"

    Raises jinja2.UndefinedError for a value that the template needs and does not get.
    """
    return environment().get_template(name).render(values)


@lru_cache
def environment() -> Environment:
    """Jinja2, imported when the first page is made."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(ROOT), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
