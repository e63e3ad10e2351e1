"""The settings of reading: the layout of the tiles, and which plane of them is registered."""

import re
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from dlir.core.settings import File, Pattern, Section, SettingsError, shortened
from dlir.reading import patterns
from dlir.reading.source import Pages

INNER = "#{index}"  # at the end of `images`: the images in one file are numbered
Share = float | Literal["auto"]  # a part of a tile's side; auto: dlir finds it
NUCLEI = "nuclei"  # as reference_channel: that of a nuclear stain by its name, else the first one
OF_FIRST = ("images", "positions", "order", "rows", "columns")  # keys that say where tiles lie, which a dataset must have
OF_SPECIMEN = (
    "cache",
    "logs",
    "benchmarks",
    "report_files",
)  # folders in the results of a specimen, beside those of its rounds


def folder_name(name: str) -> str:
    """Returns a name when a folder of results can have it; raises ValueError with the remedy."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ValueError("is no name for a folder: use letters, digits, _, - and ., and begin with a letter, a digit or _")
    return name


def round_name(name: str) -> str:
    """Returns the name of a round when its results can lie in a folder of that name, among those of its specimen."""
    if folder_name(name) in OF_SPECIMEN or "." in name:
        raise ValueError(f"is no name for a round: leave out points, and do not take {', '.join(OF_SPECIMEN)}")
    return name


def _shares(overlap: object) -> object:
    """Returns the overlap when it is one share of a tile or two."""
    given = overlap if isinstance(overlap, list | tuple) else [overlap]
    try:
        parts = [part if part == "auto" else float(str(part)) for part in given]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2) or not all(part == "auto" or 0 < float(part) < 1 for part in parts):
        raise ValueError(
            f"is {shortened(overlap)}: give auto, or a part of a tile between 0 and 1, such as 0.1 for 10 %, or [y, x]"
        )
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


class Layout(Section):
    """The layout of the tiles by the stage, and the plane that is registered; each dataset may override every key."""

    overlap: Annotated[Share | tuple[Share, Share], BeforeValidator(_shares)] = "auto"
    rows: Annotated[int, Field(ge=1, le=100_000)] | None = None
    columns: Annotated[int, Field(ge=1, le=100_000)] | None = None
    start: Literal["top-left", "top-right", "bottom-left", "bottom-right"] = "top-left"
    order: Literal["rows", "columns"] = "rows"
    snake: bool = False
    first_index: Annotated[int, Field(ge=0, le=10**15)] | None = None  # of the first place of the grid
    unit: Literal["px", "um"] | None = None  # of the table of positions; None: what its headers say, else px
    swap_yx: bool = False  # of the table of positions, before the flips
    flip_y: bool = False  # of the table of positions
    flip_x: bool = False
    mirrored: bool = False  # the camera sees the specimen in a mirror
    pixel_size: Annotated[float, Field(ge=1e-6, le=1e4)] | None = None
    any_size: bool = False  # takes a tile whose size is far from that of the others, which may be a thumbnail
    largest: Annotated[float, Field(ge=1, le=1e9)] = 100.0  # mosaic, times the area of all tiles
    pages: Pages | None = None  # what the pages of a file are, where it does not say so
    reference_channel: Annotated[int, Field(ge=0, le=10_000)] | str | None = None  # nuclei: that of a nuclear stain
    reference_z: Annotated[int, Field(ge=0, le=1_000_000)] | Literal["max"] = "max"
    reference_time: Annotated[int, Field(ge=0, le=1_000_000)] | Literal["each"] = 0  # each: every time point by itself

    @property
    def told_overlap(self) -> tuple[float | None, float | None]:
        """The overlap along y and along x; None where dlir has to find it."""
        y, x = self.overlap if isinstance(self.overlap, tuple) else (self.overlap, self.overlap)
        return None if y == "auto" else y, None if x == "auto" else x


class Radial(Section):
    """A radial distortion as calibration tools write it: raw = centre + (u - centre) (1 + k1 r^2 + k2 r^4).

    Here u is a pixel of the undistorted tile, and r its distance from `centre` in units of `focal`.
    """

    k1: Annotated[float, Field(ge=-1e3, le=1e3)]
    k2: Annotated[float, Field(ge=-1e3, le=1e3)] = 0.0
    centre: tuple[float, float] | None = None  # px (y, x) of the tile; None: its middle
    focal: Annotated[float, Field(gt=0, le=1e9)] | None = None  # px; None: half the diagonal of the tile


def _distortion(value: object) -> object:
    """Returns the distortion when it is a word, keys of Radial, or the path of a file that may hold one."""
    if isinstance(value, Radial) or value in ("auto", "none"):
        return value
    if isinstance(value, dict):
        try:
            return Radial.checked(value)
        except SettingsError:
            known = "k1 and k2 are numbers, centre is [y, x] in px, and focal a length in px"
            raise ValueError(f"is {shortened(value)}: {known}; without focal, half the diagonal of a tile") from None
    if not isinstance(value, str | Path) or Path(value).suffix.lower() not in (".csv", ".tif", ".tiff"):
        raise ValueError(
            f"is {shortened(value)}: give auto, none, the lens.csv of another run, a TIFF with a displacement for each pixel, "
            "or {k1: , k2: } of a calibration"
        )
    return Path(value)


class Dataset(Layout):
    """The files of one dataset, with its layout.

    - `images`: the path of the tiles, in which `{row}` and `{col}`, or `{index}`, or `{x}` and `{y}` say where a tile lies, and
      `{channel}`, `{z}` and `{time}` stand for what differs between the files of one tile (`patterns.py`).
    - `positions`: a table of nominal places; metadata, where the files of the tiles tell them.
    - `placement`: the placement.csv of another run, which these images of the same grid take over.
    - `truth`: a placement table with which the result is compared.
    - `overrides`: a table of pairs and tiles that the user corrects (`placement/overrides.py`).
    - `flat`, `dark`: the user's flat-field and dark-field, in place of those that dlir estimates from the tiles.
    - `distortion`: how the lens distorts all tiles: auto finds it in them, none; or a known one (`given_lens.py`).
    - `rounds`: acquisitions of one specimen, by their names in order, as keys or as a list; what each does not say for itself,
      the dataset says for all. `{round}` in `images` says the same of rounds that differ in nothing but their files.
    """

    images: Pattern
    positions: Literal["metadata"] | File | None = None
    placement: File | None = None
    truth: File | None = None
    overrides: File | None = None
    flat: File | None = None
    dark: File | None = None
    distortion: Annotated[Literal["auto", "none"] | Radial | Path, BeforeValidator(_distortion)] = "auto"
    rounds: dict[Annotated[str, AfterValidator(round_name)], "Dataset"] = Field({})

    @model_validator(mode="before")
    @classmethod
    def complete_rounds(cls, data: Any) -> Any:
        """Gives each round the keys of the dataset; a dataset without `images` has those of its first round."""
        rounds = data.get("rounds") if isinstance(data, dict) else None
        if isinstance(rounds, list) and rounds and all(isinstance(name, str) for name in rounds):
            if twice := next((name for name in rounds if rounds.count(name) > 1), ""):
                raise ValueError(f"rounds: {twice} is there twice: delete one of the two")
            rounds = dict.fromkeys(rounds)
        if not isinstance(rounds, dict) or not all(isinstance(own, dict | NoneType) for own in rounds.values()):
            return data
        rounds = {name: own or {} for name, own in rounds.items()}
        if nested := next((name for name, own in rounds.items() if own.get("rounds")), ""):
            raise ValueError(
                f"rounds.{nested}: has rounds, and a round has none of its own: list all of them below the dataset"
            )
        same = {key: value for key, value in data.items() if key != "rounds"}
        complete = {name: {**same, **own} for name, own in rounds.items()}
        first = next(iter(complete.values()), {})
        return {**{key: first[key] for key in OF_FIRST if key in first}, **same, "rounds": complete}

    @model_validator(mode="after")
    def rounds_are_placed_together(self) -> "Dataset":
        """Raises ValueError when a specimen has keys that its rounds cannot have."""
        if not self.has_rounds:
            return self
        every = (self, *self.rounds.values())
        if any(own.placement for own in every):
            raise ValueError("placement has no effect on rounds, which are placed together: delete it, or make each a dataset")
        if any(own.reference_time == "each" or "time" in patterns.placeholders(own.images) for own in every):
            raise ValueError(
                "rounds have no time points: delete {time} and reference_time, or write {round} in the place of {time} where "
                "each time point is a round"
            )
        return self

    @model_validator(mode="after")
    def places_are_known(self) -> "Dataset":
        """Raises ValueError when neither the file names nor a table say where the tiles lie."""
        found = patterns.placeholders(self.images) & {"row", "col", "index", "x", "y"}
        length = self.columns if self.order == "rows" else self.rows
        if wrong := patterns.unknown(self.images):
            known = ", ".join(f"{{{name}}}" for name in (*patterns.NUMBERS, *patterns.PLACES, *patterns.NAMES, "well"))
            raise ValueError(f"images has {wrong}, which is no placeholder; these are {known}, and {{row:3}} for three digits")
        for name in ("positions", "overrides"):
            if self.placement and getattr(self, name):
                raise ValueError(f"placement says where the tiles lie, and {name} has no effect: delete one of the two")
        if self.placement:
            return self
        if self.positions is None and found not in ({"row", "col"}, {"index"}, {"x", "y"}):
            raise ValueError(
                "images needs {row} and {col}, or {index}, or {x} and {y}, in the path; or give positions: a table, or "
                "metadata, where the files themselves tell their places"
            )
        if self.positions is None and found == {"index"} and length is None:
            raise ValueError("a path with {index} needs columns (with order: rows) or rows (with order: columns)")
        if together := patterns.run_together(self.images):
            first = together.split("}")[0]
            remedy = f"separate them, or say how many digits the first has, as in {first}:3}}"
            raise ValueError(f"images has {together}, and nothing says where the first ends: {remedy}")
        return self

    @property
    def has_rounds(self) -> bool:
        """Whether this is a specimen, each round of which is a dataset."""
        return bool(self.rounds) or "round" in patterns.placeholders(self.images)

    @property
    def tells_cells(self) -> bool:
        """Whether the file names tell the row and the column of each tile."""
        found = patterns.placeholders(self.images)
        length = self.columns if self.order == "rows" else self.rows
        return {"row", "col"} <= found or ("index" in found and length is not None)

    @property
    def on_grid(self) -> bool:
        """Whether the tiles have rows and columns by their names; else their places are told, in `unit`."""
        return self.positions is None and "x" not in patterns.placeholders(self.images)

    @property
    def places_in_grid(self) -> int | None:
        """The number of places in the grid, where the settings tell it."""
        return self.rows * self.columns if self.rows and self.columns else None

    @property
    def table(self) -> Path | None:
        """The table of positions; None where there is none."""
        return self.positions if isinstance(self.positions, Path) else None

    @property
    def known_lens(self) -> Path | None:
        """The file of a known distortion; None where there is none."""
        return self.distortion if isinstance(self.distortion, Path) else None

    @property
    def files(self) -> str:
        """The pattern of the files: `images` without the #{index} that counts the images in one file."""
        return self.images.removesuffix(INNER)

    @property
    def in_files(self) -> bool:
        """Whether only the files themselves tell how many tiles there are, or where: their headers have to be read."""
        return self.positions == "metadata" or self.images.endswith(INNER)
