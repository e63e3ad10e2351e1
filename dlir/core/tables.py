"""The schemas of the tables that the steps write and read: CSV files; lengths are in px unless a comment says otherwise.

A table is checked when it is written and when it is read, so that an error names the file and the column at fault.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dlir.core.affine import COLUMNS
from dlir.core.atomic import atomically
from dlir.core.schema import Column, Schema, SchemaError

# Kinds of columns; an optional one may have empty cells
INT = Column("int64")
OPTIONAL_INT = Column("Int64", nullable=True)
FLOAT = Column("float64")
OPTIONAL_FLOAT = Column("float64", nullable=True)
TEXT = Column("str")
OPTIONAL_TEXT = Column("str", nullable=True)
BOOL = Column("bool")
TIME = Column("int64", required=False)  # only where each time point is registered and placed by itself (time_points.py)
AFFINE = dict.fromkeys(COLUMNS, FLOAT)  # the entries of an affine; see affine.py

# One row for each tile, in reading order; the columns from times to pixel_size are the same in all rows.
# - tile: number of the tile, from 0
# - path: file of the tile. Where a tile has several files, their names differ in {time}, {z} or {channel}, which stay in the
#   path as placeholders (filenames.py)
# - row, col: place in the grid, from 0
# - y, x: nominal place of the centre of pixel (0, 0): where the stage puts it, or the steps that the survey found
# - camera: number of the camera, from 0, which has the most tiles. Tiles of one camera have one size, and share their light
# - height, width: size of the tile
# - times, depth, channels: number of time points, z planes and channels of a tile, in all its files together
# - dtype: type of the pixels as they are read: uint8, uint16 or float32 (reading/pixel_types.py)
# - time_names, z_names, channel_names: what the placeholders in path stand for, in order, separated by "|"; the names of
#   channels may also come from the files' metadata; empty where there are none
# - reference_channel, reference_z, reference_time: the plane that registration sees, counted from 0; no channel: the mean of
#   all channels; no z: the maximum over z; no time: each time point is registered and placed by itself
# - pages: what the pages of the files are by the settings: z, channel or time; empty where the files say so, or have one page
# - pixel_size: micrometres; empty where it is unknown
# - mirrored: whether the tiles are mirrored left to right when they are read
# - sha256: SHA-256 of the file; a hash of it and of the rest where the tile has several files, is mirrored or has pages
#   (reading/contents.py)
_TILES = {
    "tile": INT, "path": TEXT, "row": INT, "col": INT, "y": FLOAT, "x": FLOAT, "camera": INT, "height": INT,
    "width": INT, "times": INT, "depth": INT, "channels": INT, "dtype": TEXT, "time_names": OPTIONAL_TEXT,
    "z_names": OPTIONAL_TEXT, "channel_names": OPTIONAL_TEXT, "reference_channel": OPTIONAL_INT, "reference_z": OPTIONAL_INT,
    "reference_time": OPTIONAL_INT, "pages": OPTIONAL_TEXT, "mirrored": BOOL, "pixel_size": OPTIONAL_FLOAT, "sha256": TEXT,
}  # fmt: skip
TILES = Schema(_TILES, unique=["path"])

# The same before the survey: y and x are empty along an axis on which no overlap is given.
FILES = Schema({**_TILES, "y": OPTIONAL_FLOAT, "x": OPTIONAL_FLOAT}, unique=["path"])

# What the survey found: one row for each direction in which the grid has neighbours.
# - side: down: the step from a tile to the one below it; right: to the one at its right
# - told_y, told_x: the step by the settings, or by the table of positions; empty where no overlap is given
# - found_y, found_x: the step that the pixels show; empty where it is not known
# - spread_y, spread_x: standard deviation of the pairs about it
# - pairs, sure: number of pairs that were compared, and of those that surely match there
# - step_y, step_x: the step that tiles.csv follows: the told one where the pixels do not contradict it, else the found one
# - overlap: part of a tile's side that neighbours then share
# - layout: fits: the pixels agree with the settings; other: they fit another layout, which `advice` names; unclear: they do not
#   fit; unknown: too little matches to tell; others: nor does anyone tell, so that the step is that of other rounds
# - advice: what to set; empty where the layout fits
SURVEY = Schema(
    {"side": TEXT, "told_y": OPTIONAL_FLOAT, "told_x": OPTIONAL_FLOAT, "found_y": OPTIONAL_FLOAT, "found_x": OPTIONAL_FLOAT,
     "spread_y": OPTIONAL_FLOAT, "spread_x": OPTIONAL_FLOAT, "pairs": INT, "sure": INT, "step_y": FLOAT, "step_x": FLOAT,
     "overlap": FLOAT, "layout": TEXT, "advice": OPTIONAL_TEXT},
    unique=["side"],
)  # fmt: skip

# One row for each pair of neighbouring tiles, with a window in each tile that holds their overlap.
# - pair: number of the pair, from 0
# - fixed, moving: numbers of the two tiles
# - side: down: the moving tile lies below the fixed one; right: it lies to the right
# - fixed_y, fixed_x, moving_y, moving_x: top left pixel of the window in the fixed and in the moving tile
# - height, width: size of both windows
# - nominal_y, nominal_x: nominal place of the moving tile less that of the fixed tile
# - search: largest distance from the nominal offset, on either axis, at which the overlap is searched
PAIRS = Schema(
    {"pair": INT, "fixed": INT, "moving": INT, "side": TEXT, "fixed_y": INT, "fixed_x": INT,
     "moving_y": INT, "moving_x": INT, "height": INT, "width": INT, "nominal_y": FLOAT, "nominal_x": FLOAT,
     "search": FLOAT},
    unique=["fixed", "moving"],
)  # fmt: skip

# One row for each pair, as registration found it.
# - pair, fixed, moving, side: as in pairs.csv
# - yy, ..., x0: affine from a pixel of the moving tile to a pixel of the fixed tile
# - centre_y, centre_x: point of the overlap, in the moving tile, at which the shift is known best
# - var_y, cov_yx, var_x: covariance of the shift at that point, px^2
# - cov_yy_yy, ...: covariance of the linear part from a fixed px to a moving px
# - bow_y, bow_x: by how much the ends of the overlap are displaced against its middle, which no affine shows; empty where the
#   pair was not refined
# - score_before, score_after: NCC of the overlap at the nominal offset, and after registration
# - confidence: probability that the affine is right, within 2 px; it does not depend on the setting register.accept
# - accepted: whether the placement uses the pair. A faint pair, whose confidence is below the setting register.accept although
#   both tiles show the same thing, is used only where a pair above it shares one of its tiles
# - overruled: whether the pair was accepted, and hardly counts in the placement, since other pairs or the stage contradict it
# - reason: why the pair was rejected, overruled, or accepted although faint or doubtful; empty for all others
# - method: what found the affine: network, phase, the user's own function, or user for an offset from a table of overrides
# - time: the time point at which it was registered; there is no such column where one time point stands for all
LINEAR = ("yy", "yx", "xy", "xx")  # the entries of the linear part
LINEAR_COVARIANCE = [f"cov_{first}_{second}" for first in LINEAR for second in LINEAR]
BOW = ("bow_y", "bow_x")
AFFINES = Schema(
    {"pair": INT, "fixed": INT, "moving": INT, "side": TEXT, **AFFINE, "centre_y": FLOAT, "centre_x": FLOAT,
     "var_y": FLOAT, "cov_yx": FLOAT, "var_x": FLOAT, **dict.fromkeys(LINEAR_COVARIANCE, FLOAT),
     **dict.fromkeys(BOW, OPTIONAL_FLOAT), "score_before": FLOAT, "score_after": FLOAT,
     "confidence": FLOAT, "accepted": BOOL, "overruled": BOOL, "reason": OPTIONAL_TEXT, "method": TEXT, "time": TIME},
)  # fmt: skip

# One row for each camera that distorts its tiles, and for each term of the polynomial (lens.py).
# - camera: as in tiles.csv
# - height, width: size of its tiles
# - power_y, power_x: the term is (y - middle)^power_y (x - middle)^power_x, in units of half the diagonal of a tile
# - y, x: coefficients: by how much the term displaces a pixel in the raw tile, at the distance 1
# - interval_y, interval_x: half of their 95 % intervals; 0 where they are not known
# - source: found: from the overlaps of the tiles; given: by the setting distortion
LENS = Schema(
    {"camera": INT, "height": INT, "width": INT, "power_y": INT, "power_x": INT, "y": FLOAT, "x": FLOAT,
     "interval_y": FLOAT, "interval_x": FLOAT, "source": TEXT},
    unique=["camera", "power_y", "power_x"],
)  # fmt: skip

# One row for each tile, as it is placed.
# - tile, path: as in tiles.csv
# - yy, ..., x0: affine from a pixel of the tile to a pixel of the mosaic
# - pairs: number of accepted pairs of the tile
# - residual: root mean square of how far those pairs lie from the placement; empty without pairs
# - deviation: standard deviation of the place against the mean of all tiles, both axes together; it counts that pairs may be
#   wrong, that the stage alone says where one group lies to another, and how exactly the distortion of the lens is known; empty
#   where nobody told it
# - group: number of the group: the tiles that accepted pairs join which are not overruled. 0 is the largest; a tile without
#   such pairs is a group of its own
# - slip_y, slip_x: from where the stage says to where this part of the grid lies, where the pairs show that the stage slipped
#   by far more than it errs; 0 in the largest part
# - loop: closing error of the four pairs around the 2 x 2 tiles of which this is the top left one; empty where not all four
#   are accepted
# - placed_by: pairs; stage, where the tile has no accepted pair; user, where a table of overrides places it; placement, where
#   it lies as in another run, whose columns from pairs to loop are repeated here
# - time: the time point at which it lies there; there is no such column where one placement holds for all
PLACEMENT = Schema(
    {"tile": INT, "path": TEXT, **AFFINE, "pairs": INT, "residual": OPTIONAL_FLOAT, "deviation": OPTIONAL_FLOAT,
     "group": INT, "slip_y": FLOAT, "slip_x": FLOAT, "loop": OPTIONAL_FLOAT, "placed_by": TEXT,
     "time": TIME},
    unique=["path", "time"],
)  # fmt: skip

# One row, on the stage and the tile model; one for each time point that is placed by itself.
# - model: the tile model: translation, rigid, similarity or affine
# - foretold_rotation, ...: of the rotation, scale, aspect and shear of the pairs, the fraction of the mean square that the
#   other pairs predict; place.model "auto" chooses the tile model by it
# - rotation, rotation_interval: rotation of the picture against the stage, and half its 95 % interval, degrees
# - scale, scale_interval: stage px in one camera px, and half its 95 % interval
# - skew, skew_interval: by how much the angle between the axes of the stage falls short of 90 degrees, as the camera sees them,
#   and half its 95 % interval, degrees
# - error_y, error_x: standard deviation of the stage's error of one tile
# - backlash_row_y, ...: shift along y and x of every second row and of every second column against the others
# Rotation, scale and skew are against the stage as it is told; where no overlap is given, scale and its interval are empty.
# The intervals are 0 where the user gave rotation and scale.
# - time: the time point; there is no such column, and one row, where one time point stands for all
LINEAR_PARTS = ("rotation", "scale", "aspect", "shear")
BACKLASH = ("row_y", "row_x", "column_y", "column_x")
STAGE = Schema(
    {"model": TEXT, **{f"foretold_{part}": FLOAT for part in LINEAR_PARTS}, "rotation": FLOAT,
     "rotation_interval": FLOAT, "scale": OPTIONAL_FLOAT, "scale_interval": OPTIONAL_FLOAT, "skew": FLOAT,
     "skew_interval": FLOAT, "error_y": FLOAT, "error_x": FLOAT,
     **{f"backlash_{part}": FLOAT for part in BACKLASH}, "time": TIME},
)  # fmt: skip

# One row for each round of a specimen, in order: how it lies to the first one, as the pixels of both show it.
# - round: its name, which is that of its folder of results
# - yy, ..., x0: affine from the frame of the round, in which its own pairs place its tiles, to the frame of the first round
# - turn, scale: degrees, and px of the first round in one px of this one
# - shift_y, shift_x: by how much the middle of the round moves
# - blocks, agreeing: number of parts of both rounds that were compared, and of those that agree with the affine
# - spread: root mean square of how far these depart from it; empty where none agrees
# - found: first: it is the first round; pixels: they show it; stage: they do not, and the stage alone does
# - against: name of the round that it was found against, by pixels; empty for the others
# - advice: what to look at; empty where it was found
ROUNDS = Schema(
    {"round": TEXT, **AFFINE, "turn": FLOAT, "scale": FLOAT, "shift_y": FLOAT, "shift_x": FLOAT, "blocks": INT,
     "agreeing": INT, "spread": OPTIONAL_FLOAT, "found": TEXT, "against": OPTIONAL_TEXT, "advice": OPTIONAL_TEXT},
    unique=["round"],
)  # fmt: skip

# One row for each piece of a tile that was registered to a tile of another round; a tile has up to two pieces.
# - fixed_round, moving_round: names of the rounds of the two tiles
# - the others: as in AFFINES; fixed and moving count the tiles of their rounds, and side is always round
ROUND_PAIRS = Schema(
    {"fixed_round": TEXT, "moving_round": TEXT, **{name: column for name, column in AFFINES.columns.items() if name != "time"}},
    unique=["pair"],
)

# One row for each tile of each round, as all rounds are placed together.
# - round: name of its round
# - the others: as in PLACEMENT; tile counts the tiles of its round
# - within: standard deviation of the place within its round, px, both axes together; `deviation` also counts how far the rounds
#   may lie apart, where no pair joins them. Tables of earlier versions have no such column
ROUND_PLACEMENT = Schema({"round": TEXT, **{name: column for name, column in PLACEMENT.columns.items() if name != "time"},
                          "within": Column("float64", nullable=True, required=False)}, unique=["path"])  # fmt: skip

# One row for each round, on its stage and the tile model, as in STAGE.
ROUND_STAGE = Schema({"round": TEXT, **{name: column for name, column in STAGE.columns.items() if name != "time"}},
                     unique=["round"])  # fmt: skip

# One row: the size of the mosaic of all rounds, which begins at the pixel (0, 0) of their common frame.
# - pixel_size: micrometres, of the first round; empty or missing where it is unknown
CANVAS = Schema({"height": INT, "width": INT, "pixel_size": Column("float64", nullable=True, required=False)})

# One row for each node of the field by which a round was stretched against the first one (local_field.py). Empty where there is
# none.
# - y, x: place of the node in the mosaic; the nodes are a square grid
# - shift_y, shift_x: about by how much this round shows elsewhere what the first one shows there: the field is the cubic
#   B-spline of these
LOCAL = Schema({"y": FLOAT, "x": FLOAT, "shift_y": FLOAT, "shift_x": FLOAT}, unique=["y", "x"])

# One row for each node of the field of each round that was stretched.
# - round: name of the round
# - the others: as in LOCAL
ROUND_LOCAL = Schema({"round": TEXT, **LOCAL.columns}, unique=["round", "y", "x"])

# One row for each round but the first: what its field mends.
# - round: its name
# - patches: number of places at which it was compared with the first one
# - before, before_95: median and 95 % quantile of how far it lies from the first one there
# - after, after_95: the same of what is left where the field is fitted to other places alone
# - largest: the longest displacement that is mended; 0 where there is no field
# - used: whether there is a field: it predicts other places clearly better than none
LOCAL_ROUNDS = Schema(
    {"round": TEXT, "patches": INT, **dict.fromkeys(("before", "before_95", "after", "after_95"), OPTIONAL_FLOAT),
     "largest": FLOAT, "used": BOOL},
    unique=["round"],
)  # fmt: skip

# One row for each tile and channel.
# - tile: as in tiles.csv
# - channel: number of the channel, from 0
# - gain: exposure of the tile relative to the mean over all tiles of the channel
# - scale: by which the mosaic is multiplied so that no pixel passes the maximum of the data type; the same for all tiles
# - pedestal: grey values that the mosaic keeps of the dark-field, so that no pixel falls below 0; the same for all tiles
# - clipped: number of pixels of the tile that were above 0 and still fall below it, over all z planes and time points
# A pixel of the mosaic is (pixel - dark) / (flat gain) scale + pedestal.
EXPOSURE = Schema(
    {"tile": INT, "channel": INT, "gain": Column("float64", above=0), "scale": Column("float64", above=0),
     "pedestal": FLOAT, "clipped": INT},
    unique=["tile", "channel"],
)  # fmt: skip

# One row for each check of the network during the training.
# - step: training steps so far
# - loss: mean loss since the last check; empty before the training
# - measure: what median and mean are of: "corner error, px" of synthetic pairs of held-out tiles, or "1 - NCC" of the real
#   pairs
# - median, mean: over the pairs of the check
# - decision: in the first row, why the network was or was not trained, if that was decided; in the last one, why the trained
#   network was or was not kept
HISTORY = Schema(
    {"step": INT, "loss": OPTIONAL_FLOAT, "measure": TEXT, "median": FLOAT, "mean": FLOAT, "decision": OPTIONAL_TEXT},
)  # fmt: skip

# One row for each synthetic pair and registration method; the affine of such a pair is known.
# - side: as in pairs.csv
# - pair: number of the synthetic pair of that side, from 0; all methods register the same ones
# - method: network, phase, the user's own function, or none: no registration
# - error: corner error: how far the corners of the window lie from their true places, root mean square
# - confidence: probability that the affine is right, as the method itself reports it
KNOWN_PAIRS = Schema(
    {"side": TEXT, "pair": INT, "method": TEXT, "error": FLOAT, "confidence": FLOAT},
    unique=["side", "pair", "method"],
)  # fmt: skip

# One row for each side and registration method, the summary of known_pairs.csv.
# - side: as in pairs.csv
# - method: network, phase, the user's own function, or none: no registration
# - pairs: number of synthetic pairs
# - median, p95: median and 95 % quantile of the corner error
# - over_2px: fraction of the pairs whose corner error is above 2 px
SELFCHECK = Schema(
    {"side": TEXT, "method": TEXT, "pairs": INT, "median": FLOAT, "p95": FLOAT, "over_2px": FLOAT},
    unique=["side", "method"],
)  # fmt: skip

# One row for each tile, from a placement that is known to be right; further columns are allowed.
# - path: as in tiles.csv
# - yy, ..., x0: affine from a pixel of the tile to the true frame
TRUTH = Schema({"path": TEXT, **AFFINE}, unique=["path"], strict=False)

# One row for each tile, from the comparison of a placement with a truth.
# - tile, path: as in tiles.csv
# - error: largest error at the centres of the four corner pixels
ACCURACY = Schema({"tile": INT, "path": TEXT, "error": FLOAT}, unique=["path"])


class TableError(ValueError):
    """A table lacks a column or has a value that its schema does not allow."""


def check(table: pd.DataFrame, schema: Schema, path: Path) -> pd.DataFrame:
    """Returns the table with the column types of its schema; `path` is its file, for the message.

    Raises:
        TableError: naming the file, the column and up to five rows at fault.
    """
    try:
        return schema.validate(table)
    except SchemaError as error:
        lines = [f"  {c.column}{'' if c.row == '' else f' row {c.row}'}: {c.why}" for c in error.cases[:5]]
        raise TableError("\n".join([f"{path}: the table does not fit its schema:", *lines])) from None


def read(path: Path, schema: Schema) -> pd.DataFrame:
    """Reads the CSV file `path` and checks it; raises TableError as `check` does, and when the file is no such table."""
    texts = {name: "str" for name, column in schema.columns.items() if column.dtype == "str"}
    try:
        table = pd.read_csv(path, keep_default_na=True, dtype=texts)  # with dtype, "007" stays a text
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: is damaged ({error}): delete it, and run the same command again") from None
    return check(table, schema, path)


def write(table: pd.DataFrame, schema: Schema, path: Path) -> None:
    """Checks the table and writes it whole or not at all, as CSV; raises TableError as `check` does."""
    checked = check(table, schema, path)
    with atomically(path) as partial:
        checked[[name for name in schema.columns if name in checked]].to_csv(partial, index=False)


def sizes(tiles: pd.DataFrame, numbers: ArrayLike | None = None) -> NDArray[np.int64]:
    """Returns the height and width (n, 2), px, of tiles (TILES): of all, or of those with these numbers (n,)."""
    chosen = tiles if numbers is None else tiles.set_index("tile").loc[np.asarray(numbers, int)]
    return chosen[["height", "width"]].to_numpy(np.int64)


def usual_size(tiles: pd.DataFrame) -> NDArray[np.int64]:
    """Returns the height and width (2,), px, of most tiles (TILES), as `most_frequent` does."""
    return most_frequent(sizes(tiles))


def most_frequent(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the one of the sizes (n, 2) that most tiles have; where several are as frequent, the largest of them."""
    found, counts = np.unique(sizes, axis=0, return_counts=True)
    return np.asarray(found[np.lexsort((found.prod(axis=1), counts))[-1]])


def of_usual_size(tiles: pd.DataFrame) -> pd.DataFrame:
    """Returns the tiles (TILES) that have the usual size."""
    usual: pd.DataFrame = tiles[(sizes(tiles) == usual_size(tiles)).all(axis=1)]
    return usual


def shift_covariance(affines: pd.DataFrame) -> NDArray[np.float64]:
    """Returns the covariance (n, 2, 2), px^2, of the shifts of pairs (AFFINES) at the points at which they are most certain."""
    return affines[["var_y", "cov_yx", "cov_yx", "var_x"]].to_numpy(float).reshape(-1, 2, 2)


def gains(exposure: pd.DataFrame, tiles: "pd.Series[int]") -> NDArray[np.float64]:
    """Returns what the tiles with these numbers are divided by (n, channels), gain over scale, from the table EXPOSURE."""
    by_channel = exposure.assign(divisor=exposure["gain"] / exposure["scale"]).groupby("channel")
    return np.stack([of.set_index("tile").loc[tiles, "divisor"] for _, of in by_channel], axis=1)


def pedestals(exposure: pd.DataFrame) -> NDArray[np.float64]:
    """Returns the pedestal (channels,), grey values, from the table EXPOSURE."""
    return exposure.groupby("channel")["pedestal"].first().to_numpy(float)
