"""The tables that stages hand on: CSV files, each with a schema; lengths are in px, column names say what they hold.

A table is checked when it is written and when it is read, so that an error names the file and the column where it began.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandera.errors import SchemaErrors
from pandera.pandas import Check, Column, DataFrameSchema

from dlir.core.affine import COLUMNS
from dlir.core.atomic import atomically

ID = Column("int64")
OPTIONAL_FLOAT = Column("float64", nullable=True)  # px; empty where there is none
LINEAR = ("yy", "yx", "xy", "xx")  # entries of an affine
FLOAT = Column("float64")
COUNT = Column("int64")
NUMBER = Column("Int64", nullable=True)  # empty where there is none
TEXT = Column("str", nullable=True)
BOOL = Column("bool")
AFFINE = dict.fromkeys(COLUMNS, FLOAT)

# One row a tile, in reading order. path: its file; of a tile with several, with {time}, {z} and {channel} left in where their
# names differ, which stand for the values in the columns of _names, parted by | and in order (naming.py). channel_names may
# come from the files themselves, too, and is empty where nobody knows. y, x: where the stage says that its pixel (0, 0) lies.
# times, depth, channels: how many there are, in files and names together. The reference is what registration sees, all
# counted from 0: no channel for the mean of all, no z for the maximum over all. From times to pixel_size (micrometres, empty
# where unknown) all rows are the same; sha256 is of the pixels.
TILES = DataFrameSchema(
    {"tile": ID, "path": Column("str"), "row": COUNT, "col": COUNT, "y": FLOAT, "x": FLOAT, "times": COUNT, "depth": COUNT,
     "channels": COUNT, "height": COUNT, "width": COUNT, "dtype": Column("str"), "time_names": TEXT, "z_names": TEXT,
     "channel_names": TEXT, "reference_channel": NUMBER, "reference_z": NUMBER, "reference_time": COUNT,
     "pixel_size": Column("float64", nullable=True), "sha256": Column("str")},
    unique=["path"], strict=True, coerce=True,
)  # fmt: skip

# One row a pair of neighbours: the windows of equal size in both tiles that hold their nominal overlap, the side they
# share (down: moving lies below fixed, right: to the right), and how far from the nominal offset they are searched.
PAIRS = DataFrameSchema(
    {"pair": ID, "fixed": ID, "moving": ID, "side": Column("str"), "fixed_y": COUNT, "fixed_x": COUNT,
     "moving_y": COUNT, "moving_x": COUNT, "height": COUNT, "width": COUNT, "nominal_y": FLOAT, "nominal_x": FLOAT,
     "search": FLOAT},
    unique=["fixed", "moving"], strict=True, coerce=True,
)  # fmt: skip

# One row a pair: the affine takes a pixel of the moving tile to a pixel of the fixed tile. centre: the point of the overlap,
# in the moving tile, where it does so most surely; var, cov: the covariance there, and that of the linear part (of a fixed px
# to a moving px). Scores: NCC at the nominal offset and after; confidence is the probability that the
# pair is right, within 2 px; accepted are those that show the same place, faintly too where a surer one holds a tile.
LINEAR_COVARIANCE = [f"cov_{first}_{second}" for first in LINEAR for second in LINEAR]
AFFINES = DataFrameSchema(
    {"pair": ID, "fixed": ID, "moving": ID, "side": Column("str"), **AFFINE, "centre_y": FLOAT, "centre_x": FLOAT,
     "var_y": FLOAT, "cov_yx": FLOAT, "var_x": FLOAT, **dict.fromkeys(LINEAR_COVARIANCE, FLOAT),
     "score_before": FLOAT, "score_after": FLOAT,
     "confidence": FLOAT, "accepted": BOOL, "reason": TEXT, "method": Column("str")},
    strict=True, coerce=True,
)  # fmt: skip

# One row a tile: the affine takes a pixel of the tile to a pixel of the mosaic. residual: root mean square, px, of the
# tile's accepted pairs, empty without any; deviation: how sure its place is, px; loop: by how much the four pairs around the
# 2 x 2 of tiles of which it is the first miss each other, px, empty without all four; placed_by: pairs, stage or user.
PLACEMENT = DataFrameSchema(
    {"tile": ID, "path": Column("str"), **AFFINE, "pairs": COUNT, "residual": OPTIONAL_FLOAT, "deviation": FLOAT,
     "loop": OPTIONAL_FLOAT, "placed_by": Column("str")},
    unique=["path"], strict=True, coerce=True,
)  # fmt: skip

# One row: the model of the tiles, and of each linear part the share that pairs foretell of others, by which auto chose it; the
# turn of the picture against the stage, degrees, the stage's px in one of the camera's, and half of their 95 % intervals, zero
# where the user gave them; the stage's error of one tile, px; and where it sets every second row and column, px off the others.
LINEAR_PARTS = ("rotation", "scale", "aspect", "shear")
BACKLASH = ("row_y", "row_x", "column_y", "column_x")
STAGE = DataFrameSchema(
    {"model": Column("str"), **{f"foretold_{part}": FLOAT for part in LINEAR_PARTS}, "rotation": FLOAT,
     "rotation_interval": FLOAT, "scale": FLOAT, "scale_interval": FLOAT, "error_y": FLOAT, "error_x": FLOAT,
     **{f"backlash_{part}": FLOAT for part in BACKLASH}},
    strict=True, coerce=True,
)  # fmt: skip

# One row a tile and channel, counted from 0: how many times brighter than usual the tile was exposed.
EXPOSURE = DataFrameSchema(
    {"tile": ID, "channel": COUNT, "gain": Column("float64", Check.gt(0))},
    unique=["tile", "channel"], strict=True, coerce=True,
)  # fmt: skip

# What the user knows better; see overrides.py.
OVERRIDES = DataFrameSchema(
    {"fixed": Column("str", nullable=True), "moving": Column("str"), "y": OPTIONAL_FLOAT, "x": OPTIONAL_FLOAT},
    strict=True, coerce=True,
)  # fmt: skip

# One row a check of the training: mean loss since the last, and what it was judged by: corner error on held-out known warps,
# px, or 1 - NCC of the pairs.
HISTORY = DataFrameSchema(
    {"step": COUNT, "loss": Column("float64", nullable=True), "measure": Column("str"), "median": FLOAT, "mean": FLOAT},
    strict=True,
    coerce=True,
)

# One row a side and method (network, phase, or none: no registration): the corner errors, px, of that many pairs of crops
# under known affines, and the share of them above 2 px.
SELFCHECK = DataFrameSchema(
    {"side": Column("str"), "method": Column("str"), "pairs": COUNT, "median": FLOAT, "p95": FLOAT,
     "over_2px": Column("float64")},
    unique=["side", "method"], strict=True, coerce=True,
)  # fmt: skip

# A placement known to be right; further columns are allowed.
TRUTH = DataFrameSchema({"path": Column("str"), **AFFINE}, unique=["path"], coerce=True)

# One row a tile: its largest error, px, at the centres of its four corner pixels.
ACCURACY = DataFrameSchema({"tile": ID, "path": Column("str"), "error": FLOAT}, unique=["path"], strict=True, coerce=True)


class TableError(ValueError):
    """A table lacks a column or has a value that its schema does not allow."""


def check(table: pd.DataFrame, schema: DataFrameSchema, path: Path) -> pd.DataFrame:
    """The table with the types of its schema.

    Raises:
        TableError: naming the file, the column and the rows at fault.
    """
    try:
        return schema.validate(table, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases.head(5)
        lines = [f"  {c.column or ''} row {c.index}: {c.check} ({c.failure_case})" for c in cases.itertuples()]
        raise TableError("\n".join([f"{path}: the table does not fit its schema:", *lines])) from None


def read(path: Path, schema: DataFrameSchema) -> pd.DataFrame:
    """The table in the CSV file `path`, checked; raises TableError."""
    texts = {
        name: "str" for name, column in schema.columns.items() if str(column.dtype).startswith("str")
    }  # "007" is no number
    return check(pd.read_csv(path, keep_default_na=True, dtype=texts), schema, path)


def write(table: pd.DataFrame, schema: DataFrameSchema, path: Path) -> None:
    """Check the table and write it whole or not at all; raises TableError."""
    checked = check(table, schema, path)
    with atomically(path) as partial:
        checked[list(schema.columns)].to_csv(partial, index=False)


def gains(exposure: pd.DataFrame, tiles: "pd.Series[int]") -> NDArray[np.float64]:
    """The gains (n, channels) of tiles in EXPOSURE."""
    return np.stack([of.set_index("tile").loc[tiles, "gain"] for _, of in exposure.groupby("channel")], axis=1)
