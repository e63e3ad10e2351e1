"""The templates of the HTML pages, and the scripts and styles that are put into them; both lie beside this module."""

import json
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup, escape


def page(template: str) -> jinja2.Template:
    """Returns a page with places for its content; whatever is filled in is escaped.

    A template may include another one. `static(name)` puts a file of the folder `static` into the page, and `as_json(value)` a
    value as JSON, which no text in it can break out of. All names of files are in quotation marks: `steps.py` looks for these.
    """
    loader = jinja2.PackageLoader("dlir.reporting", ".")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["with_code"] = _with_code
    environment.globals |= {"static": _static, "as_json": as_json}
    return environment.get_template(template)


def as_json(value: Any) -> Markup:
    """Returns a value as JSON for an element <script type="application/json">; raises ValueError for a NaN in it.

    Every `<` is written as its number, since `</script>` or `<!--` in the name of a tile would end the element.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def _with_code(text: str) -> Markup:
    """Returns a text with what stands between `` ` `` as code; all else is escaped."""
    parts = map(escape, text.split("`"))
    return Markup("").join(Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts))


def _static(name: str) -> Markup:
    """Returns a script or a style of this package as it is."""
    return Markup((resources.files("dlir.reporting") / "static" / name).read_text(encoding="utf-8"))
