"""Reads verdict.json and says it in words. This module imports nothing heavy, so that `dlir verdict` answers at once."""

import json
from pathlib import Path
from typing import Any

FILE = "verdict.json"  # in the folder of the results of a dataset
EXIT_CODES = {"good": 0, "look": 10, "bad": 11}  # of `dlir verdict --strict`, by grade; 1 to 3 mean errors (__main__.py)
MARKS = {"good": "To know", "look": "Look here", "bad": "Not to be trusted"}  # before a finding, by its grade


class VerdictError(ValueError):
    """There is no verdict that could be read."""


def read(results: Path) -> dict[str, Any]:
    """Returns the content of verdict.json in the folder `results` of a dataset; raises VerdictError where there is none."""
    file = results / FILE
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if content["grade"] not in EXIT_CODES:
            raise ValueError("no grade of a verdict")
        described(content, results)
    except (FileNotFoundError, NotADirectoryError):
        raise VerdictError(
            f"{file}: there is no verdict: give the folder of a finished dataset, such as results/NAME"
        ) from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):  # other JSON than that of a verdict, too
        raise VerdictError(f"{file}: is damaged: delete it, and run the workflow again") from None
    return content


def described(content: dict[str, Any], results: Path) -> str:
    """Returns the content of verdict.json as text: the sentence, and for each finding what it is and what would mend it.

    Args:
        results: the folder of the results, which commands in the text name.
    """
    lines = [content["sentence"]]
    for finding in content["findings"]:
        lines += ["", f"{MARKS[finding['grade']]}: {finding['sentence']}."]
        lines += [f"  What would help: {finding['remedy'].replace('RESULTS', str(results))}."] if finding["remedy"] else []
    return "\n".join(lines)
