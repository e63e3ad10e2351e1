"""The step `tiles`: images to files.csv, with the place of each tile as it is told, and a check that each file can be read.

Every pixel is read once, so that a damaged file is an error here and not after an hour of work. The hash of each file is
kept, so that every later step notices when a file is replaced or written to. All tiles must have the same channels, z planes
and time points, in one file or in several; sizes may differ (`cameras.py`). The told place of a tile of the grid is, in px,

    y = row * height * (1 - overlap_y)        x = col * width * (1 - overlap_x)

with the size of most tiles, and empty where no overlap is given; then the survey finds it.
"""

import logging
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dlir.core import sealed, tables
from dlir.core.affine import Array
from dlir.core.progress import progress
from dlir.reading import (
    cameras,
    contents,
    filenames,
    found_tiles,
    grid_layout,
    image_files,
    image_places,
    nuclear_stain,
    pixel_types,
)
from dlir.reading.contents import KNOWN, Contents
from dlir.reading.found_tiles import FoundTiles, raise_if_any
from dlir.reading.grid_layout import TileError
from dlir.reading.image_facts import NO_FACTS, ImageFacts
from dlir.reading.patterns import SEPARATOR
from dlir.reading.pixel_types import NO_PIXELS, GreyRange
from dlir.reading.settings import NUCLEI, Dataset
from dlir.reading.source import Pages, Sizes

log = logging.getLogger(__name__)
THREADS = 4  # files read at the same time
USUAL_OVERLAP = 0.1  # of a tile, by which rows and columns are counted in a table of positions
UNKNOWN_SIZES = Sizes(0, 0, 0, 0, 0)


@dataclass(frozen=True)
class FileReport:
    """What a file, or one of many images in it, holds, or what is wrong with it."""

    path: Path  # with # and the number of the image, where the file has many
    sizes: Sizes = UNKNOWN_SIZES
    dtype: str = ""
    names: tuple[str, ...] = ()  # of the channels
    pages: int = 1  # of which the file does not say what they are
    notes: tuple[str, ...] = ()  # how the file was understood
    sha256: str = ""
    grey: GreyRange = NO_PIXELS
    facts: ImageFacts = NO_FACTS
    problem: str = ""

    @property
    def file(self) -> Path:
        return Path(filenames.file_of(str(self.path)))

    @property
    def kind(self) -> tuple[int, int, int, str]:
        """What must be the same in all files: time points, z planes, channels and the type of the pixels."""
        times, depth, channels, *_ = self.sizes
        return times, depth, channels, self.dtype

    def __str__(self) -> str:
        times, depth, channels, height, width = self.sizes
        return f"{height} x {width} px, {channels} channels, {depth} z planes, {times} time points, {self.dtype}"


def tiles(output: Path, *, settings: Dataset, content: str = "") -> None:
    """Writes the tiles of the dataset to `output`, in reading order (tables.FILES).

    Args:
        content: the hash of what the files held when the run began. With it, that of what was read goes to the cache beside
            `output`: where both differ, since a file changed meanwhile, the next run notices it, also when it has changed back.

    Raises:
        TileError: with a line for each problem with a file or a row of `positions`, up to MOST_PROBLEMS.
    """
    KNOWN.known |= Contents.read(output.parent / contents.TILES).known
    table, reports = _read_tiles(settings)
    if content:
        sums = {str(report.file): report.sha256 for report in reports}
        read = contents.of_dataset(sums, found_tiles.tables(settings, map(Path, sums)))
        sealed.write(read.encode(), output.parent / contents.READ)
    tables.write(table, tables.FILES, output)


def find_tiles(settings: Dataset, without: Collection[Path] = ()) -> pd.DataFrame:
    """Returns the tiles of the dataset, in reading order (tables.FILES); reads each file once.

    Args:
        without: files whose tiles are left out.

    Raises:
        TileError: as `tiles` does.
    """
    return _read_tiles(settings, without)[0]


def outline(settings: Dataset) -> pd.DataFrame:
    """Returns where the tiles lie as it is told, without a look at their pixels; one row for each tile.

    Returns:
        path, file (its first), row, col, y, x (px; where no overlap is told, as if tiles shared USUAL_OVERLAP), height, width.

    Raises:
        TileError: when the tiles cannot be found, or a header cannot be read.
    """
    found, _ = _found(settings)
    files = [part for tile in found.tiles for part in tile.parts]
    with ThreadPoolExecutor(THREADS) as pool:
        reports = list(pool.map(partial(_header, pages=settings.pages or "channel"), files))
    raise_if_any([report.problem for report in reports if report.problem])
    settings = image_places.with_pixel_size(settings, found.facts or [report.facts for report in reports])
    sizes = _sizes(found, {report.path: report for report in reports}, settings)
    shares = [USUAL_OVERLAP if share is None else share for share in settings.told_overlap]
    cells, nominal = _told_places(found, sizes, settings.model_copy(update={"overlap": tuple(shares)}))
    columns = {
        "path": [str(tile.path) for tile in found.tiles], "file": [str(tile.files[0]) for tile in found.tiles],
        "row": cells[:, 0].astype(int), "col": cells[:, 1].astype(int), "y": nominal[:, 0], "x": nominal[:, 1],
        "height": sizes[:, 0], "width": sizes[:, 1],
    }  # fmt: skip
    return pd.DataFrame(columns).sort_values(["row", "col", "path"], ignore_index=True)


def _found(settings: Dataset, without: Collection[Path] = ()) -> tuple[FoundTiles, Collection[Path]]:
    """Returns the tiles and their places, and the files that are left out: also those that are still being written.

    Raises:
        TileError: when the places are not clear.
    """
    found = found_tiles.find(settings, without)
    found.raise_problems()
    if not settings.in_files:
        return found, without
    told = image_places.told_of([tile.files[0] for tile in found.tiles])
    if growing := image_places.growing(told, settings):
        _warn_of_growing(growing)
        return _found(settings, {*without, *growing})
    return image_places.complete(found, told, settings), without


def _warn_of_growing(files: Iterable[Path]) -> None:
    names = filenames.listed_names(sorted(files))
    log.warning("%s: still being written, so left out now: run again when it is finished, which adds it", names)


def _read_tiles(settings: Dataset, without: Collection[Path] = ()) -> tuple[pd.DataFrame, list[FileReport]]:
    """Returns the tiles as `find_tiles` does, and what was read of each file."""
    found, without = _found(settings, without)
    for note in found.notes:
        log.info("%s", note)
    if found.left_out:
        names = filenames.listed_names([path.name for path in found.left_out])
        log.warning("%s does not list %d of the files, which are left out: %s", settings.positions, len(found.left_out), names)
    files = [part for tile in found.tiles for part in tile.parts]
    pages = settings.pages or "channel"
    headers = (_header(file, pages) for file in files)
    first = next((report for report in headers if not report.problem), FileReport(files[0]))
    raise_if_any(_unknown_pages(first, settings))
    with ThreadPoolExecutor(THREADS) as pool:
        reports = list(progress(pool.map(partial(_read, like=first, pages=pages), files), "reading tiles", len(files)))
    if growing := contents.growing(str(report.file) for report in reports if not report.sha256 or report.file.is_dir()):
        _warn_of_growing(map(Path, growing))
        found, _ = _found(settings, [*without, *map(Path, growing)])
        kept = {part for tile in found.tiles for part in tile.parts}
        reports = [report for report in reports if report.path in kept]
    raise_if_any([*(report.problem for report in reports if report.problem), *_different_files(reports)])
    raise_if_any(_axes_in_names_and_files(reports[0], found.values))
    _log_notes(reports, found.left_out, settings)
    _log_copies(reports)
    settings = image_places.with_pixel_size(settings, found.facts or [report.facts for report in reports])
    same = _same_columns(reports, found.values, settings)
    by_file = {report.path: report for report in reports}
    sizes = _sizes(found, by_file, settings)
    cells, nominal = _told_places(found, sizes, settings)
    raise_if_any(_too_large_mosaic(cells, nominal, sizes, settings))
    table = _tile_rows(found, cells, nominal, sizes, by_file, settings).assign(**same)
    log.info("found %d tiles in %d rows and %d columns", len(table), table["row"].max() + 1, table["col"].max() + 1)
    log.info("each tile has %(channels)d channels, %(depth)d z planes and %(times)d time points", same)
    return table, reports


def _header(path: Path, pages: Pages) -> FileReport:
    """Reads what the header of a file says."""
    try:
        with _opened(path, pages) as stack:
            return _described(path, stack)
    except image_files.ImageError as error:
        return FileReport(path, problem=str(error))


def _read(path: Path, like: FileReport, pages: Pages) -> FileReport:
    """Reads all pixels of a file, and its hash; only the header where that is not like the one of another file."""
    try:
        with _opened(path, pages) as stack:
            report = _described(path, stack)
            if report.kind != like.kind:
                return report
            grey, problem = NO_PIXELS, ""
            for time, z in np.ndindex(stack.sizes.times, stack.sizes.depth):
                pixels = stack.read(time, z)
                problem = problem or pixel_types.wrong(pixels)
                grey = grey if problem else grey.joined(pixel_types.grey_range(pixels))
            sha256, identity = KNOWN.sha256(str(report.file))
            if identity != stack.identity:
                raise image_files.ImageError(f"{path}: was replaced while it was read: run again")
    except image_files.ImageError as error:
        return FileReport(path, problem=str(error))
    except OSError as error:
        return FileReport(path, problem=f"{path}: cannot be read ({error.strerror}): run again")
    if problem:
        return FileReport(path, problem=f"{path}: {problem}")
    return replace(report, sha256=sha256, grey=grey)


def _opened(path: Path, pages: Pages) -> AbstractContextManager[image_files.Stack]:
    """Opens a file, or the image in a file that the path names."""
    return image_files.opened(filenames.file_of(str(path)), pages, filenames.image_of(str(path)))


def _described(path: Path, stack: image_files.Stack) -> FileReport:
    facts = stack.images[filenames.image_of(str(path)) or 0]
    return FileReport(path, stack.sizes, stack.dtype, stack.names, stack.unnamed_pages, stack.notes, facts=facts)


def _unknown_pages(report: FileReport, settings: Dataset) -> list[str]:
    """Returns a question where a file does not say what its pages are, and the settings do not either."""
    if report.pages == 1 or settings.pages:
        return []
    what = f"has {report.pages} pages, and nothing in it says what they are"
    return [f"{report.path}: {what}: set pages, below tiles or in the dataset, to z, channel or time"]


def _different_files(reports: list[FileReport]) -> list[str]:
    """Returns a message for each file whose planes or pixel type differ from those of most files."""
    readable = [report for report in reports if not report.problem]
    if not readable:
        return []
    (usual, _), *others = Counter(report.kind for report in readable).most_common()
    example = next(report for report in readable if report.kind == usual)
    remedy = "remove it from the dataset, or make it a dataset of its own"
    return [
        f"{report.path}: is {report}, but {example.path} and most tiles are {example}: {remedy}"
        for report in readable
        if others and report.kind != usual
    ]


def _sizes(found: FoundTiles, reports: Mapping[Path, FileReport], settings: Dataset) -> cameras.Sizes:
    """Returns the height and width of each tile (n, 2), px.

    Raises:
        TileError: when a tile has a size that it cannot have, or that no tile is likely to have (`cameras.py`).
    """
    sizes, problems = cameras.tile_sizes(found.tiles, {path: report.sizes[-2:] for path, report in reports.items()})
    raise_if_any(problems)
    if not settings.any_size:
        cells = None if found.unit != "cells" else np.array([found.places[tile.path] for tile in found.tiles], int)
        raise_if_any(cameras.strangers([tile.path for tile in found.tiles], sizes, cells))
    if words := cameras.described(sizes):
        log.info(words)
    return sizes


def _axes_in_names_and_files(report: FileReport, values: Mapping[str, list[str]]) -> list[str]:
    """Returns a message for each axis that has several values in the file names and several planes in each file."""
    inside = {"time": report.sizes.times, "z": report.sizes.depth, "channel": report.sizes.channels}
    return [
        f"{{{name}}} has {len(values[name])} values in the file names, and {report.path} itself has {inside[name]} along this "
        f"axis: export one {name} to each file, or make images match one {name}"
        for name in inside
        if len(values[name]) > 1 and inside[name] > 1
    ]


def _same_columns(reports: list[FileReport], values: Mapping[str, list[str]], settings: Dataset) -> dict[str, Any]:
    """Returns the columns of tables.TILES that are the same for all tiles: what a tile holds, and its reference.

    Raises:
        TileError: when the dataset has no such reference as the settings name.
    """
    times, depth, channels, *_ = reports[0].sizes
    lengths = [inside * max(len(values[name]), 1) for name, inside in (("time", times), ("z", depth), ("channel", channels))]
    times, depth, channels = lengths
    names = values["channel"] if len(values["channel"]) == channels else _names_in_metadata(reports)
    wanted = settings.reference_channel
    z = None if settings.reference_z == "max" else settings.reference_z
    time = settings.reference_time if settings.reference_time != "each" else None if times > 1 else 0
    number = names.index(str(wanted)) if str(wanted) in names else wanted
    if number == NUCLEI:
        number = nuclear_stain.channel_of(names or [""] * channels)
    called = f", called {', '.join(names)}" if names else ""
    problems = []
    if isinstance(number, str) or (number is not None and number >= channels):
        problems.append(
            f"reference_channel is {wanted}, and there are {channels} channels{called}: give a name, or a number from 0"
        )
    if z is not None and z >= depth:
        problems.append(f"reference_z is {z}, and there are {depth} z planes: give max, or a number from 0 to {depth - 1}")
    if settings.reference_time != "each" and settings.reference_time >= times:
        given = settings.reference_time
        problems.append(f"reference_time is {given}, and there are {times} time points: give a number from 0 to {times - 1}")
    raise_if_any(problems)
    if names:
        log.info("the channels are called %s", ", ".join(names))
    if settings.reference_channel == NUCLEI:
        log.info("the channel %s is registered", names[int(number or 0)] if names else number)
    return {
        "times": times, "depth": depth, "channels": channels, "dtype": _type_in_tables(reports),
        "time_names": SEPARATOR.join(values["time"]), "z_names": SEPARATOR.join(values["z"]),
        "channel_names": SEPARATOR.join(names),
        "reference_channel": number, "reference_z": z, "reference_time": time,
        "pages": _told_pages(reports, settings), "mirrored": settings.mirrored,
    }  # fmt: skip


def _type_in_tables(reports: list[FileReport]) -> str:
    """Returns the type that all tiles are read as, and logs it where the files have another one."""
    grey = reduce(GreyRange.joined, (report.grey for report in reports))
    if words := pixel_types.described(reports[0].dtype, grey):
        log.log(logging.INFO if grey.exact else logging.WARNING, words)
    return pixel_types.in_tables(reports[0].dtype, grey)


def _told_pages(reports: Iterable[FileReport], settings: Dataset) -> str:
    """Returns what the pages are by the settings, where any file needs that; else nothing."""
    return settings.pages or "" if any(report.pages > 1 for report in reports) else ""


def _log_notes(reports: list[FileReport], left_out: list[Path], settings: Dataset) -> None:
    """Warns of how the files were understood, and of images that are no tiles."""
    for note in dict.fromkeys(note for report in reports for note in report.notes):
        having = [report.path for report in reports if note in report.notes]
        log.warning("%s: %s", having[0] if len(having) == len(reports) else filenames.listed_names(having), note)
    files = [report.file for report in reports] + left_out
    if others := grid_layout.other_images(settings, files):
        what = "image beside the tiles, which does" if len(others) == 1 else "images beside the tiles, which do"
        names = filenames.listed_names([other.name for other in others])
        log.warning("left out %d other %s not match images: %s", len(others), what, names)


def _log_copies(reports: Iterable[FileReport]) -> None:
    """Warns of files with the same bytes: one of them may have been copied in the place of another."""
    first: dict[str, Path] = {}
    whole = [report for report in reports if filenames.image_of(str(report.path)) is None]
    copies = [f"{each.path} of {one}" for each in whole if (one := first.setdefault(each.sha256, each.path)) != each.path]
    if copies:
        what = "1 file is an exact copy" if len(copies) == 1 else f"{len(copies)} files are exact copies"
        remedy = "copy it again from the microscope if a tile was taken for another one"
        log.warning("%s: %s: %s", what, filenames.listed_names(copies), remedy)


def _names_in_metadata(reports: list[FileReport]) -> list[str]:
    """Returns the names of the channels in the files' metadata; none, with a warning, unless all files have the same names.

    Raises:
        TileError: when files have the same names in another order, so that the mosaic would mix channels.
    """
    names, usual = {report.names for report in reports}, reports[0]
    swapped = [report for report in reports if report.names != usual.names and sorted(report.names) == sorted(usual.names)]
    if swapped:
        files = filenames.listed_names([f"{each.path} ({', '.join(each.names)})" for each in swapped])
        what = (
            f"channels in another order than in {usual.path} ({', '.join(usual.names)}), so the mosaic would mix them: {files}"
        )
        remedy = "export all tiles with one order of channels, or take the names out of the metadata where only these are wrong"
        raise TileError(f"{what}: {remedy}")
    other = next((report for report in reports if report.names != reports[0].names), None)
    if other:
        of_files = [f"{', '.join(each.names) or 'nothing'} in {each.path}" for each in (reports[0], other)]
        log.warning(
            "the channels are called %s, but %s: they count by their order, without names; if the order differs, too, export "
            "the tiles with one order of channels",
            *of_files,
        )
    return [name.replace(SEPARATOR, "/") for name in reports[0].names] if len(names) == 1 else []


def _told_places(found: FoundTiles, sizes: cameras.Sizes, settings: Dataset) -> tuple[Array, Array]:
    """Returns the row and column of each tile (n, 2), and its place (n, 2), px, NaN along an axis without an overlap.

    Args:
        sizes: (n, 2) px, of the tiles.
    """
    size = tables.most_frequent(sizes)
    places: Array = np.array([found.places[tile.path] for tile in found.tiles], float)
    told = np.array([math.nan if share is None else share for share in settings.told_overlap])
    if found.unit == "cells":
        return places, places * size * (1 - told) + cameras.within_cells(sizes, places.astype(int))
    distance = np.median(sizes, axis=0) * (1 - np.where(np.isfinite(told), told, USUAL_OVERLAP))
    nominal = _in_pixels(places, found.unit, settings) - ((sizes - 1) / 2 if found.centred else 0)
    cells: Array = np.rint((nominal - nominal.min(axis=0)) / distance)  # only shows people which tiles lie side by side
    return cells, nominal


def _tile_rows(
    found: FoundTiles,
    cells: Array,
    nominal: Array,
    sizes: cameras.Sizes,
    reports: Mapping[Path, FileReport],
    settings: Dataset,
) -> pd.DataFrame:
    """Returns the columns of tables.TILES that differ from tile to tile."""
    pages = _told_pages(reports.values(), settings)
    table = pd.DataFrame(
        {
            "path": [str(tile.path) for tile in found.tiles],
            "row": cells[:, 0].astype(int),
            "col": cells[:, 1].astype(int),
            "y": nominal[:, 0],
            "x": nominal[:, 1],
            "camera": cameras.camera_numbers([tile.camera for tile in found.tiles], sizes),
            "height": sizes[:, 0],
            "width": sizes[:, 1],
            "pixel_size": settings.pixel_size or math.nan,
            "sha256": [
                contents.of_tile(
                    [reports[part].sha256 for part in tile.parts], settings.mirrored, pages, filenames.image_of(str(tile.path))
                )
                for tile in found.tiles
            ],
        }
    ).sort_values(["row", "col", "path"], ignore_index=True)
    table.insert(0, "tile", table.index)
    return table


def _too_large_mosaic(cells: Array, nominal: Array, sizes: cameras.Sizes, settings: Dataset) -> list[str]:
    """Returns a message where the mosaic of tiles at these places would be larger than `settings.largest`."""
    places = np.where(np.isfinite(nominal), nominal, cells * sizes.max(axis=0))
    height, width = ((places + sizes).max(axis=0) - places.min(axis=0)).tolist()
    times = height * width / float(sizes.prod(axis=1).sum())
    if times <= settings.largest:
        return []
    if settings.on_grid:
        remedy = "if the numbers in the names are places and do not count rows and columns, write {x} and {y} in images"
    else:
        remedy = f"correct the numbers in {settings.positions or 'the names'}, or unit and pixel_size"
    what = f"would be {height:.0f} x {width:.0f} px, {times:.0f} times the area of all tiles together"
    return [f"the mosaic {what}: {remedy}; if the tiles do lie so far apart, raise largest, which is {settings.largest:g}"]


def _in_pixels(places: Array, unit: str, settings: Dataset) -> Array:
    """Returns places of a table (n, 2) in px, with y downwards and x to the right; `unit` is that of the table, px or um.

    Raises:
        TileError: when the table is in micrometres, and the size of a pixel is not known.
    """
    places = places[:, ::-1] if settings.swap_yx else places
    places = places * np.where([settings.flip_y, settings.flip_x], -1.0, 1.0)
    if unit == "um" and not settings.pixel_size:
        raise grid_layout.TileError(
            f"{settings.positions}: is in micrometres, and the size of a pixel is not known: set pixel_size"
        )
    return places / settings.pixel_size if unit == "um" and settings.pixel_size else places
