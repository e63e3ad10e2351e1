"""The base class of the settings: every key is known, has a default, and is checked before any job starts.

Each wing has its sections in its `settings.py`, and `dlir/config.py` puts them together. The classes hold the defaults, and a
test keeps `config.yaml` equal to them. A setting is only what changes a result; threads, memory and device belong to the
profile of Snakemake.
"""

from typing import Annotated, Any, Self

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
            raise explained(error) from None

    @classmethod
    def checked(cls, tree: dict[str, Any]) -> Self:
        """Returns the section in `tree`, nested dictionaries as YAML gives them; raises SettingsError when it is not valid."""
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise explained(error) from None


def explained(error: ValidationError) -> SettingsError:
    """Returns the error with one line for each key that is unknown, missing or wrong."""
    return SettingsError("\n".join(["the settings are not right:", *map(_line, error.errors())]))


def _line(error: ErrorDetails) -> str:
    path = ".".join(map(str, error["loc"])) or "config"
    if path in REMOVED:
        return f"  {path}: is no key any more: {REMOVED[path]}"
    words = {"extra_forbidden": "unknown key; config.yaml lists the keys that exist", "missing": "is missing"}
    return f"  {path}: {words.get(error['type'], error['msg'].removeprefix('Value error, '))}"
