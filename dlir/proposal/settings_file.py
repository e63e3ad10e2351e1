"""Writes proposed settings as a file that people read and change: each key with what it rests on, and open questions."""

import json
import textwrap
from typing import Any

import yaml

from dlir.proposal.propose import Proposal

MOST_LEFT_OUT = 50  # files that are named
WIDTH = 120  # characters of a comment
ANSWERED_BY = "write the answer in place of the example, and take away the # before it"


def settings_text(proposal: Proposal, file: str) -> str:
    """Returns the settings as YAML.

    Args:
        file: the path of the file, as the commands in its first lines name it.
    """
    lines = [
        "# Settings of dlir, as `dlir init` understood the folder. Look at the grid:",
        f"#     dlir preview {file}",
        "# and stitch it:",
        f"#     dlir stitch {file}",
        "datasets:",
        f"  {_scalar(proposal.name)}:",
    ]
    for key, value in proposal.keys.items():
        remark = proposal.remarks.get(key, "")
        lines.append(f"    {key}: {_scalar(value)}{f' # {remark}' if remark else ''}")
    for note in proposal.notes:
        lines += _comment(note, "    # ")
    for question in proposal.questions:
        answer = f" ({ANSWERED_BY})" if question.key else ""
        lines += _comment(f"QUESTION: {question.words}{answer}", "    # ")
        lines += [f"    # {question.key}: {question.example}"] if question.key else []
    if proposal.left_out:
        lines += ["# Left out:", *(f"#   {text}" for text in proposal.left_out[:MOST_LEFT_OUT])]
        more = len(proposal.left_out) - MOST_LEFT_OUT
        lines += [f"#   ... and {more} more"] if more > 0 else []
    return "\n".join(lines) + "\n"


def _scalar(value: Any) -> str:
    """Returns a value as YAML on one line."""
    if isinstance(value, str) and (
        value[:1].isdigit() or set(value) & set("{}[]*&#?|<>=!%@:\"'") or yaml.safe_load(value) != value
    ):
        return json.dumps(value, ensure_ascii=False)
    return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True).removesuffix("\n").removesuffix("\n...")


def _comment(text: str, start: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=start, subsequent_indent=start, break_long_words=False, break_on_hyphens=False
    )
