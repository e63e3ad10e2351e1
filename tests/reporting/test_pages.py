"""What is filled into a page stays text, and its scripts are there."""

import json
import re

import jinja2
import pytest

from dlir import steps
from dlir.reporting.pages import as_json, page

DANGEROUS = ["</script><script>alert(1)</script>", "<!--<script>", "]]>", "\u2028", 'a "b" & c']


def test_no_text_breaks_out_of_the_facts() -> None:
    text = as_json({"names": DANGEROUS})
    assert "<" not in text and json.loads(text)["names"] == DANGEROUS
    with pytest.raises(ValueError, match="JSON"):
        as_json({"number": float("nan")})


def test_code_in_a_sentence_is_marked_and_all_else_is_escaped() -> None:
    filters = page("report.html.j2").environment.filters
    assert filters["with_code"]("run `dlir <x>` & look") == "run <code>dlir &lt;x&gt;</code> &amp; look"


def test_every_file_of_the_pages_belongs_to_a_step_and_exists() -> None:
    folder = steps.PACKAGE / "reporting"
    pages = "report", "report_rounds", "index"
    listed = {path for step in pages for path in steps.files(step) if path.suffix != ".py"}
    assert {path for path in folder.glob("static/*") if path.suffix in (".js", ".css")} <= listed
    assert {*folder.glob("*.html.j2")} == {path for path in listed if path.suffix == ".j2"}
    assert all(path.is_file() for path in listed)


def test_no_script_ends_before_its_end() -> None:
    for path in (steps.PACKAGE / "reporting" / "static").glob("*.js"):
        assert not re.search("</script|<!--", path.read_text(encoding="utf-8"), re.IGNORECASE), path
    assert isinstance(page("index.html.j2"), jinja2.Template)
