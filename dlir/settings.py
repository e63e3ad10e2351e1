"""Every setting of a run, checked before any job starts.

The classes mirror `config.yaml` key by key (a test keeps the two in step), and the defaults live in `config.yaml` alone:
a section that is not complete is an error that names the missing key. Unknown keys are errors too, so a typo never runs.
Only what changes a result is a setting; threads, memory and device belong to the profile of the run.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Architecture = Literal["correlation", "dlir"]
Fraction = Annotated[float, Field(gt=0, lt=1)]
DEMO_IMAGES = "results/demo/tiles/Tp26_Y{row}_X{col}_040.tif"
DEMO_TRUTH = "results/demo/truth.csv"
WORDS = {"extra_forbidden": "unknown key; config.yaml lists the keys that exist", "missing": "is missing"}


class SettingsError(ValueError):
    """The settings name an unknown key, miss one, or give one a value that it cannot have."""


class Section(BaseModel):
    """A part of the settings: frozen, and every key must be known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The section in the JSON `text`; raises SettingsError."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise _explain(error) from None


class Layout(Section):
    """What the stage says of the places of the tiles, and what of them is registered; each dataset may override any key."""

    overlap: Fraction | tuple[Fraction, Fraction]
    rows: Annotated[int, Field(ge=1)] | None
    columns: Annotated[int, Field(ge=1)] | None
    start: Literal["top-left", "top-right", "bottom-left", "bottom-right"]
    order: Literal["rows", "columns"]
    snake: bool
    pixel_size: Annotated[float, Field(gt=0)] | None
    reference_channel: Annotated[int, Field(ge=0)] | str | None
    reference_z: Annotated[int, Field(ge=0)] | Literal["max"]
    reference_time: Annotated[int, Field(ge=0)]


class Dataset(Layout):
    """Where the tiles of one dataset lie.

    `images` is a path in which `{row}` and `{col}`, or `{index}`, stand for the numbers in the file names, `{channel}`, `{z}`
    and `{time}` for what tells the files of one tile apart, and `*` for anything. `positions` is a table with the nominal
    places, `truth` a placement table to measure the result against, `overrides` a table of what the user knows better than was
    measured (`overrides.py`); `flat` and `dark` are images of the user's in place of the illumination that the tiles show
    (`illumination.py`).
    """

    images: str
    positions: Path | None = None
    truth: Path | None = None
    overrides: Path | None = None
    flat: Path | None = None
    dark: Path | None = None

    @model_validator(mode="after")
    def places_are_known(self) -> "Dataset":
        found = {name for name in ("row", "col", "index") if "{" + name + "}" in self.images}
        line = self.columns if self.order == "rows" else self.rows
        if self.positions is None and found not in ({"row", "col"}, {"index"}):
            raise ValueError("images needs {row} and {col}, or {index}, in the path; or give positions, a table")
        if self.positions is None and found == {"index"} and line is None:
            raise ValueError("a path with {index} needs columns (with order: rows) or rows (with order: columns)")
        if "}{" in self.images:
            raise ValueError("images has two placeholders side by side, and nothing says where the first ends: part them")
        return self


class Demo(Section):
    """The specimen and the microscope of the demo dataset."""

    rows: Annotated[int, Field(ge=1)]
    columns: Annotated[int, Field(ge=1)]
    tile: Annotated[int, Field(ge=64)]
    overlap: Fraction
    stage_error: Annotated[float, Field(ge=0)]
    camera_rotation: Annotated[float, Field(ge=-5, le=5)]
    shading: Annotated[float, Field(ge=0, lt=1)]
    photons: Annotated[float, Field(gt=0)]
    seed: int

    @property
    def images(self) -> list[str]:
        """The paths of its tiles, in reading order."""
        cells = [(row, col) for row in range(self.rows) for col in range(self.columns)]
        return [DEMO_IMAGES.format(row=f"{row:03d}", col=f"{col:03d}") for row, col in cells]


class Illumination(Section):
    """Whether what sits still on the camera is taken out."""

    correct: bool


class Pairs(Section):
    """Which tiles are neighbours and how far their overlap is searched."""

    search: Fraction
    min_overlap: Annotated[int, Field(ge=4)]


class Train(Section):
    """How the registration network learns from the tiles; with `model`, a file, it does not, and that one is used."""

    model: Path | None
    share: bool
    architecture: Architecture
    start: Literal["generic", "random"]
    similarity: Literal["global", "local"]
    steps: Annotated[int, Field(ge=0)]
    batch: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    processes: Annotated[int, Field(ge=1)]
    seed: int


class Register(Section):
    """How pairs are registered and judged."""

    method: Literal["network", "phase"]
    accept: Fraction
    seed: int


class Selfcheck(Section):
    """How registration is measured on pairs that are known."""

    count: Annotated[int, Field(ge=1)]
    seed: int


class Camera(Section):
    """How the camera lies to the stage."""

    rotation: Annotated[float, Field(gt=-45, lt=45)]  # degrees
    scale: Annotated[float, Field(gt=0.5, lt=2)]


class Place(Section):
    """How all tiles are placed from the pairs."""

    model: Literal["auto", "translation", "rigid", "similarity", "affine"]
    camera: Camera | None
    stage_weight: Annotated[float, Field(gt=0)]


class Exposure(Section):
    """Whether tiles are made equally bright."""

    correct: bool


class Mosaic(Section):
    """How the tiles are fused and stored."""

    interpolation: Literal[0, 1, 3]
    blend: Literal["linear", "average", "max", "none"]
    bands: Annotated[int, Field(ge=1)]
    chunk: Annotated[int, Field(ge=16, multiple_of=2)]  # even, so that 2 x 2 means never cross a block
    shard: Annotated[int, Field(ge=16)]

    @model_validator(mode="after")
    def shards_hold_whole_chunks(self) -> "Mosaic":
        if self.shard % self.chunk:
            raise ValueError(f"shard ({self.shard}) must be a multiple of chunk ({self.chunk})")
        return self


class Report(Section):
    """What the report shows."""

    overview: Annotated[int, Field(ge=100)]


class Settings(Section):
    """The whole of `config.yaml`, each dataset completed with the keys of `tiles`."""

    datasets: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")], Dataset]
    tiles: Layout
    demo: Demo
    illumination: Illumination
    pairs: Pairs
    train: Train
    register_: Register = Field(alias="register")
    selfcheck: Selfcheck
    place: Place
    exposure: Exposure
    mosaic: Mosaic
    report: Report

    @model_validator(mode="before")
    @classmethod
    def complete_datasets(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Give each dataset the layout of `tiles`; without any dataset, the demo is the one."""
        layout, demo = data.get("tiles") or {}, data.get("demo") or {}
        datasets = data.get("datasets") or {
            "demo": {"images": DEMO_IMAGES, "truth": DEMO_TRUTH, "overlap": demo.get("overlap"), "start": "top-left"}
        }
        if not isinstance(datasets, dict) or not all(isinstance(own, dict) for own in datasets.values()):
            raise ValueError("datasets: each dataset is a name with keys below it, at least images")
        return {**data, "datasets": {name: {**layout, **own} for name, own in datasets.items()}}


def load(config: dict[str, Any]) -> Settings:
    """The settings in `config`, a tree as YAML gives it.

    Raises:
        SettingsError: with one line for each key that is unknown, missing or wrong.
    """
    try:
        return Settings.model_validate(config)
    except ValidationError as error:
        raise _explain(error) from None


def _explain(error: ValidationError) -> SettingsError:
    lines = [
        f"  {'.'.join(map(str, e['loc'])) or 'config'}: {WORDS.get(e['type'], e['msg'].removeprefix('Value error, '))}"
        for e in error.errors()
    ]
    return SettingsError("\n".join(["the settings are not right:", *lines]))
