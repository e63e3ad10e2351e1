"""Finds the tiles that only the files themselves tell of: many images in one file, or places in their metadata.

With `positions: metadata`, each image with a place is a tile; the place is where the stage stood. With `#{index}` at the end of
`images`, the images in the file are numbered tiles of a grid. Only the headers of the files are read.
"""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from dlir.core.text_tables import TextTableError
from dlir.reading import contents, grid_layout, image_files, micro_manager_metadata, ome_xml
from dlir.reading.filenames import Tile, listed_names
from dlir.reading.found_tiles import FoundTiles, raise_if_any
from dlir.reading.image_facts import NO_FACTS, ImageFacts, first_known
from dlir.reading.image_files import ImageError
from dlir.reading.listed_places import Unit
from dlir.reading.settings import INNER, Dataset

log = logging.getLogger(__name__)
THREADS = 4  # headers that are read at the same time
OTHERWISE = "give positions, a table, or {row} and {col}, or {index}, in images"
SQUARE = 0.01  # by which two sizes of a pixel may differ and count as one
Told = Sequence[ImageFacts] | str  # what is told of each image in a file, or why it cannot be read


def complete(found: FoundTiles, told: Mapping[Path, Told], settings: Dataset) -> FoundTiles:
    """Returns the tiles in files that were found, with their places.

    Args:
        told: what is told of the images in the first file of each tile (`told_of`).

    Raises:
        TileError: when a file cannot be read, tells no place, or the places are not clear.
    """
    raise_if_any(list(dict.fromkeys(each for each in told.values() if isinstance(each, str))))
    images = {file: each for file, each in told.items() if not isinstance(each, str)}
    if settings.images.endswith(INNER):
        return _numbered(found, images, settings)
    return _placed(found, images, settings)


def with_pixel_size(settings: Dataset, facts: Sequence[ImageFacts]) -> Dataset:
    """Returns the settings with the size of a pixel that the files tell, where none is given.

    Warns where the files contradict each other or the settings, or tell of pixels that are not square.
    """
    sizes = np.array([each.pixel_size for each in facts if each.pixel_size])
    if not len(sizes):
        return settings
    y, x = np.median(sizes, axis=0).tolist()
    if np.ptp(np.log(sizes), axis=0).max() > SQUARE:
        log.warning("the files tell several sizes of a pixel, %.4g to %.4g micrometres", sizes.min(), sizes.max())
    if abs(np.log(y / x)) > SQUARE:
        log.warning("the files tell of pixels of %.4g x %.4g micrometres, which are not square: dlir takes the mean", y, x)
    told = float(np.sqrt(y * x))
    if settings.pixel_size is None:
        log.info("the files tell the size of a pixel: %.6g micrometres", told)
        return settings.model_copy(update={"pixel_size": round(told, 9)})
    if abs(np.log(told / settings.pixel_size)) > SQUARE:
        words = "pixel_size is %g micrometres in the settings, and %.6g in the files: the settings count"
        log.warning(words, settings.pixel_size, told)
    return settings


def told_of(files: Sequence[Path]) -> dict[Path, Told]:
    """Returns what is told of the images in each file: by the file, or by the metadata.txt of Micro-Manager beside it."""
    with ThreadPoolExecutor(THREADS) as pool:
        found = dict(zip(files, pool.map(_images, files), strict=True))
    alone = {file: each[0] for file, each in found.items() if not isinstance(each, str) and len(each) == 1}
    silent = {file: each for file, each in alone.items() if not each.place}
    lists = {table.parent: _listed(table) for table in micro_manager_metadata.beside(silent)}
    for file, own in silent.items():
        listed = lists.get(file.parent, {})
        found[file] = listed if isinstance(listed, str) else [first_known([own, listed.get(file.name, NO_FACTS)])]
    return found


def growing(told: Mapping[Path, Told], settings: Dataset) -> set[Path]:
    """Returns those of the files that cannot be read, or lack a place, and are still being written, or the list beside them."""
    needs_place = settings.positions == "metadata"
    unclear = [
        file for file, each in told.items() if isinstance(each, str) or (needs_place and not all(image.place for image in each))
    ]
    lists = micro_manager_metadata.beside(unclear) if needs_place else []
    found = contents.growing(map(str, [*unclear, *lists]))
    return {file for file in unclear if {str(file), str(file.with_name(micro_manager_metadata.NAME))} & found}


def _listed(table: Path) -> dict[str, ImageFacts] | str:
    """Returns what a metadata.txt says of each image, or why it cannot be read."""
    try:
        return micro_manager_metadata.read(table)
    except TextTableError as error:
        return str(error)


def _images(file: Path) -> Told:
    """Returns what a file says of each of its images, or why it cannot be read."""
    try:
        with image_files.opened(file, image=0) as stack:
            return stack.images
    except ImageError as error:
        return str(error)


def _numbered(found: FoundTiles, images: Mapping[Path, Sequence[ImageFacts]], settings: Dataset) -> FoundTiles:
    """Returns the images of one file as numbered tiles."""
    if len(found.tiles) > 1:
        names = listed_names([tile.path for tile in found.tiles])
        raise_if_any(
            [f"{settings.images} means the images of one file, and there are {len(found.tiles)} files, {names}: name one"]
        )
    (tile,) = found.tiles
    count = len(images[tile.files[0]])
    tiles = [tile._replace(path=Path(f"{tile.path}#{number}"), numbers={"index": number}) for number in range(count)]
    cells, problems = grid_layout.grid(tiles, settings)
    raise_if_any(problems)
    return found._replace(tiles=tiles, places=cells, unit="cells", notes=grid_layout.remarks(cells.values(), tiles, settings))


def _placed(found: FoundTiles, images: Mapping[Path, Sequence[ImageFacts]], settings: Dataset) -> FoundTiles:
    """Returns the images that have a place by their metadata."""
    tiles: list[tuple[Tile, ImageFacts]] = []
    without: list[Path] = []  # images
    silent = [tile.files[0] for tile in found.tiles if not any(each.place for each in images[tile.files[0]])]
    problems: list[str] = []
    for tile in found.tiles:
        facts = images[tile.files[0]]
        if len(facts) > 1 and len(tile.files) > 1:
            problems.append(f"{tile.files[0]}: holds {len(facts)} images, and the tile has other files: export each to its own")
        for number, each in enumerate(facts):
            own = tile if len(facts) == 1 else tile._replace(path=Path(f"{tile.path}#{number}"))
            tiles += [(own, each)] if each.place else []
            without += [] if each.place else [own.path]
    damaged = {file: words for file in silent if tiles and (words := _damage(file))}
    problems += damaged.values()
    if silent := [file for file in silent if file not in damaged]:
        what = "tell no place of the stage" if len(silent) > 1 else "tells no place of the stage"
        them = "them" if len(silent) > 1 else "it"
        remedy = f", as other files do: copy {them} again if a part may be missing, else move {them} away, or give a table"
        problems.append(f"{listed_names(silent)}: {what}{remedy if tiles else f': {OTHERWISE}'}")
    raise_if_any(problems)
    places = {tile.path: facts.place for tile, facts in tiles if facts.place}
    if len({*places.values()}) == 1 and len(places) > 1:
        what = f"all {len(places)} tiles have one place in their metadata, {next(iter(places.values()))}"
        raise_if_any([f"{what}: {OTHERWISE}"])
    notes = [f"left out, since no place of the stage is told for them: {listed_names(without)}"] if without else []
    unit = _unit([facts for _, facts in tiles], settings)
    notes.append(f"the places of {len(tiles)} tiles come from their metadata, in {'micrometres' if unit == 'um' else unit}")
    return found._replace(
        tiles=[tile for tile, _ in tiles],
        places=places,
        unit=unit,
        notes=notes,
        centred=all(facts.of_centre for _, facts in tiles),
        facts=[facts for _, facts in tiles],
    )


def _damage(file: Path) -> str:
    """Returns what is wrong with a file that tells no place of the stage; nothing where all of it can be read."""
    try:
        with image_files.opened(file, image=0) as stack:
            for time, z in np.ndindex(stack.sizes.times, stack.sizes.depth):
                stack.read(time, z)
            damaged = ome_xml.NOT_VALID in stack.notes
    except ImageError as error:
        return str(error)
    return f"{file}: is damaged ({ome_xml.NOT_VALID}): copy it again from the microscope" if damaged else ""


def _unit(facts: Sequence[ImageFacts], settings: Dataset) -> Unit:
    """Returns the unit of the places; raises TileError where the files do not tell it, or the settings another one."""
    units = {each.unit for each in facts}
    if len(units) > 1:
        raise_if_any([f"the places in the metadata have several units, {', '.join(sorted(units))}: give positions, a table"])
    (unit,) = units
    if not unit and not settings.unit:
        if not settings.pixel_size and not all(each.pixel_size for each in facts):
            raise_if_any(["the places in the metadata have no unit: set unit to um or px"])
        log.warning("the places in the metadata have no unit: they are taken for micrometres; set unit to px if they are not")
        return "um"
    if unit and settings.unit and unit != settings.unit:
        raise_if_any([f"the places in the metadata are in {unit}, and the setting unit is {settings.unit}: delete unit"])
    return "um" if (settings.unit or unit) == "um" else "px"
