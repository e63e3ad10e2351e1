"""The base class of the settings: every key is known, has a default, and is checked before any job starts.

Each wing has its sections in its `settings.py`, and `dlir/config.py` puts them together. The classes hold the defaults, and a
test keeps `config.yaml` equal to them. A setting is only what changes a result; threads, memory and device belong to the
profile of Snakemake.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

Fraction = Annotated[float, Field(gt=0, lt=1)]
# The keys of earlier versions, by their path, and what the user does instead
REMOVED = {
    "demo.camera_rotation": "the demo's camera is always turned by 0.5 degrees; delete the key",
    "demo.shading": "the demo always loses 40 % of the light in the corners; delete the key",
    "demo.photons": "the demo's brightest pixel always has 400 photons; delete the key",
}


class SettingsError(ValueError):
    """The settings have an unknown key, lack a key, or give a key a value that it cannot have."""


class Section(BaseModel):
    """A section of the settings. It is frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the section in the JSON `text`; raises SettingsError when it is not valid."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise explained(error, cls) from None

    @classmethod
    def checked(cls, tree: dict[str, Any]) -> Self:
        """Returns the section in `tree`, nested dictionaries as YAML gives them; raises SettingsError when it is not valid."""
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise explained(error, cls) from None


def explained(error: ValidationError, section: type[Section]) -> SettingsError:
    """Returns the error with one line for each key of the section that is unknown, missing or wrong."""
    keys = set(_keys(section))
    return SettingsError("\n".join(["the settings are not right:", *(_line(each, keys) for each in error.errors())]))


def _line(error: ErrorDetails, keys: set[str]) -> str:
    path = ".".join(str(part) for part in error["loc"] if part != "[key]") or "config"
    if path in REMOVED:
        return f"  {path}: is no key any more: {REMOVED[path]}"
    if error["type"] == "extra_forbidden":
        near = get_close_matches(str(error["loc"][-1]), keys, n=1)
        return f"  {path}: unknown key; {f'did you mean {near[0]}?' if near else 'config.yaml of dlir lists the keys'}"
    return f"  {path}: {'is missing' if error['type'] == 'missing' else error['msg'].removeprefix('Value error, ')}"


def _keys(section: type[BaseModel]) -> Iterator[str]:
    """Yields the keys of a section and of those below it."""
    for name, field in section.model_fields.items():
        yield field.alias or name
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _keys(kind)
