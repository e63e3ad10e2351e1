"""Tells the tiles from other pictures of the same places: small ones, lossy ones, and colour pictures made of the channels.

The names alone do not tell them apart; the sizes in the headers of a few files do.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dlir.proposal.names import NamePattern, name_patterns, stem_and_ending
from dlir.reading import filenames, image_files, patterns
from dlir.reading.image_files import ImageError

LOSSY = (".jpg", ".jpeg")
SMALL, COLOUR = "smaller copies of the tiles", "colour pictures of the tiles"


class Form(NamedTuple):
    """The size of an image."""

    area: int  # px
    channels: int


def without_copies(folder: Path, files: Sequence[str]) -> tuple[list[NamePattern], list[str]]:
    """Returns the patterns of the names, the tiles first and without copies of them, and a line for each set of copies.

    Args:
        files: paths with /, relative to the folder.
    """
    found = name_patterns(files)
    odd = _odd_channels(folder, found[0])
    if odd:
        others = {file for members in odd.values() for file in members}
        found = name_patterns([file for file in files if file not in others])
    left_out = [f"{filenames.listed_names(members)}: {why}" for why, members in odd.items()]
    main, copies = _copies(folder, found)
    left_out += [f"{filenames.listed_names(each.files)}: {why}" for each, why in copies]
    dropped = [main, *(each for each, _ in copies)]
    return [main, *(each for each in found if each not in dropped)], left_out


def _odd_channels(folder: Path, names: NamePattern) -> dict[str, list[str]]:
    """Returns the files of channels whose images have not the size of most, such as overlays, by the reason."""
    if "{channel}" not in names.images:
        return {}
    members: dict[str, list[str]] = defaultdict(list)
    for path, match in patterns.matches(map(Path, names.files), names.images).items():
        members[match["channel"]].append(path.as_posix())
    forms = {channel: _form(folder / files[0]) for channel, files in members.items()}
    counts = Counter(forms.values())
    usual = max(counts, key=lambda form: (counts[form], form.area, -form.channels))
    odd: dict[str, list[str]] = defaultdict(list)
    for channel, form in forms.items():
        if 0 < form.area < usual.area or (form.area == usual.area and form.channels > usual.channels):
            odd[SMALL if form.area < usual.area else COLOUR] += members[channel]
    return odd


def _copies(folder: Path, found: Sequence[NamePattern]) -> tuple[NamePattern, list[tuple[NamePattern, str]]]:
    """Returns the pattern of the tiles, and those of copies of them with the reason."""
    first = {_place(file) for file in found[0].files}
    same = [each for each in found if len(first & {_place(file) for file in each.files}) > len(each.files) / 2]
    if len(same) < 2:
        return found[0], []
    forms = {each.images: _form(folder / each.files[0]) for each in same}
    whole = [each for each in same if len(each.files) > len(found[0].files) / 2]
    main = min(whole, key=lambda each: (-forms[each.images].area, _kind(each), -len(each.files)))
    stems = {stem_and_ending(file)[0] for file in main.files}
    copies = []
    for each in same:
        area, area_of_tiles = forms[each.images].area, forms[main.images].area
        if 0 < area < area_of_tiles:
            copies.append((each, SMALL))
        elif each is not main and area == area_of_tiles and {stem_and_ending(file)[0] for file in each.files} <= stems:
            lossy = _kind(each) == 2 > _kind(main)
            copies.append((each, "lossy copies of the tiles" if lossy else "copies of the tiles in another format"))
    return main, copies


def _place(file: str) -> str:
    """Returns the name of a file without folders, and without what follows its last number, such as _thumb.tif."""
    return re.sub(r"[^0-9]*$", "", PurePosixPath(stem_and_ending(file)[0]).name) or file


def _kind(names: NamePattern) -> int:
    """Returns how much the files may have lost: 0 for TIFF, which keeps all that is known of a tile, 2 for lossy formats."""
    ending = names.images.lower()
    return 0 if ending.endswith((".tif", ".tiff")) else 2 if ending.endswith(LOSSY) else 1


def _form(path: Path) -> Form:
    """Returns the size of an image; 0 where it cannot be read."""
    try:
        with image_files.opened(path) as stack:
            return Form(stack.sizes.height * stack.sizes.width, stack.sizes.channels)
    except ImageError:
        return Form(0, 0)
