"""What all sections of the settings have in common: every key is known, has a default, and is checked before any job starts.

Each wing has its sections in a `settings.py`, and `dlir/config.py` puts them together. The classes hold the defaults; a test
keeps `config.yaml` in step with them. Only what changes a result is a setting; threads, memory and device belong to the
profile of the run.
"""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

Fraction = Annotated[float, Field(gt=0, lt=1)]
# Keys of earlier versions, by their path, and what to do instead
REMOVED = {
    "demo.camera_rotation": "the demo's camera is always turned by 0.5 degrees; delete the key",
    "demo.shading": "the demo always loses 40 % of the light in the corners; delete the key",
    "demo.photons": "the demo's brightest pixel always has 400 photons; delete the key",
}


class SettingsError(ValueError):
    """The settings name an unknown key, lack a key, or give a key a value that it cannot have."""


class Section(BaseModel):
    """A part of the settings: frozen, and every key must be known."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The section in the JSON `text`; raises SettingsError."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise explained(error) from None

    @classmethod
    def checked(cls, tree: dict[str, Any]) -> Self:
        """The section in `tree`, as YAML gives it; raises SettingsError."""
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise explained(error) from None


def explained(error: ValidationError) -> SettingsError:
    """The error with one line for each key that is unknown, missing or wrong."""
    return SettingsError("\n".join(["the settings are not right:", *map(_line, error.errors())]))


def _line(error: ErrorDetails) -> str:
    path = ".".join(map(str, error["loc"])) or "config"
    if path in REMOVED:
        return f"  {path}: is no key any more: {REMOVED[path]}"
    words = {"extra_forbidden": "unknown key; config.yaml lists the keys that exist", "missing": "is missing"}
    return f"  {path}: {words.get(error['type'], error['msg'].removeprefix('Value error, '))}"
