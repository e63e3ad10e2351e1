"""The base class of the settings: every key is known, has a default, and is checked before any job starts.

Each wing has its sections in its `settings.py`, and `dlir/config.py` puts them together. The classes hold the defaults, and a
test keeps `config.yaml` equal to them. A setting is only what changes a result; threads, memory and device belong to the
profile of Snakemake.
"""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails


def _is_path(path: Any) -> Any:
    """Returns a path, or a pattern of paths, when it can be one."""
    if str(path).strip() in ("", ".") or "\0" in str(path):
        raise ValueError("is no path: give one, or delete the key")
    return path


Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Pattern = Annotated[str, AfterValidator(_is_path)]
File = Annotated[Path, AfterValidator(_is_path)]
MOST_CHARACTERS = 100  # of a wrong value, in a message
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

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

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
    lines = dict.fromkeys(_line(each, section) for each in error.errors())  # each once: a key may have several kinds of values
    return SettingsError("\n".join(["the settings are not right:", *lines]))


def shortened(value: object) -> str:
    """Returns a value as YAML shows it, or the start of it."""
    names = {None: "null", True: "true", False: "false"}
    text = names[value] if value is None or isinstance(value, bool) else str(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} ..."


def _line(error: ErrorDetails, section: type[Section]) -> str:
    keys, kind = _found(section, error["loc"])
    path, given = ".".join(keys) or "config", shortened(error["input"])
    if path in REMOVED:
        return f"  {path}: is no key any more: {REMOVED[path]}"
    if error["type"] == "extra_forbidden":
        near = get_close_matches(keys[-1], set(_keys(section)), n=1)
        return f"  {path}: unknown key; {f'did you mean {near[0]}?' if near else 'config.yaml of dlir lists the keys'}"
    if error["type"] == "missing":
        return f"  {path}: is missing"
    if error["type"] == "value_error":
        return f"  {path}: {error['msg'].removeprefix('Value error, ')}"
    if error["type"] == "json_invalid":
        return f"  {path}: is no JSON ({error['ctx']['error']}): give the keys and values of a section as JSON"
    if error["type"] == "invalid_key" or "[key]" in error["loc"]:
        return f"  {path}: is no name: put it in quotation marks"
    return f"  {path}: is {given}: give {_wanted(kind)}"


def _found(section: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[list[str], Any]:
    """Returns the keys on the way to an error, and the kind of value that is wanted there.

    After the keys, `loc` may name one of the kinds that a value can have.
    """
    kind: Any = section
    keys = []
    for part in loc:
        if part == "[key]":
            break
        of_section = next((k for k in (kind, *get_args(kind)) if isinstance(k, type) and issubclass(k, BaseModel)), None)
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif of_section:
            field = next((f for name, f in of_section.model_fields.items() if part == (f.alias or name)), None)
            kind = field and (Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation)
        else:
            break
        keys.append(str(part))
    return keys, kind


def _wanted(kind: Any, limits: Sequence[Any] = ()) -> str:
    """Returns which values a key of this kind may have, in words."""
    parts = get_args(kind)
    if get_origin(kind) is Annotated:
        return _wanted(parts[0], parts[1:])
    if get_origin(kind) is Literal:
        return " or ".join(filter(None, (", ".join(map(str, parts[:-1])), str(parts[-1]))))
    if parts and get_origin(kind) is not dict:
        return ", or ".join(map(_wanted, parts))
    if kind in (int, float):
        return f"{'a whole number' if kind is int else 'a number'}{_range(limits)}"
    words = {bool: "true or false", str: "a text", Path: "the path of a file", NoneType: "null"}
    return words.get(kind, "keys with values below it")


def _range(limits: Sequence[Any]) -> str:
    """Returns which numbers the limits allow, in words."""
    given = {type(limit): limit for limit in _single(limits)}
    words = [(" above", Gt, "gt"), (" from", Ge, "ge"), (" and below", Lt, "lt"), (" to", Le, "le")]
    words += [(", a multiple of", MultipleOf, "multiple_of")]
    numbers = [(word, f"{getattr(given[kind], name):f}") for word, kind, name in words if kind in given]
    return "".join(f"{word} {number.rstrip('0').rstrip('.')}" for word, number in numbers)


def _single(limits: Iterable[Any]) -> Iterator[Any]:
    """Yields the limits one by one; a Field of pydantic may hold several."""
    for limit in limits:
        yield from limit.metadata if isinstance(limit, FieldInfo) else [limit]


def _keys(section: type[BaseModel]) -> Iterator[str]:
    """Yields the keys of a section and of those below it."""
    for name, field in section.model_fields.items():
        yield field.alias or name
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not section:
                yield from _keys(kind)
