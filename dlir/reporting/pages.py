"""The templates of the HTML pages, which lie beside this module."""

from importlib import resources

import jinja2


def page(template: str) -> jinja2.Template:
    """Returns a page with places for its content; whatever is filled in is escaped."""
    text = (resources.files("dlir.reporting") / template).read_text(encoding="utf-8")
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True).from_string(text)
