"""The step `join_rounds`: the mosaics of all rounds of a specimen as one OME-Zarr with all their channels.

The mosaics of the rounds have one size and one frame, so a channel of theirs is a channel of the whole. A file of a mosaic
holds a part of one channel; it is linked under the number that its channel has in the whole, and no pixel is read or copied:

    R2/mosaic.ome.zarr/0/c/1/3/4    channel 1 of round R2    ->    mosaic.ome.zarr/0/c/5/3/4    channel 5 of the whole

So memory does not grow with the rounds, and the disk holds each pixel once where the file system has hard links.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import zarr
from ome_zarr_models.common.omero import Channel, Omero
from ome_zarr_models.v05.image import Image as ImageModel

from dlir.core import hashing, tables
from dlir.core.atomic import atomically, link_or_copy
from dlir.fusion import display
from dlir.fusion.mosaic import OutputError
from dlir.fusion.ome_zarr_metadata import write_metadata
from dlir.fusion.pyramid import Pyramid
from dlir.fusion.settings import Mosaic
from dlir.reading.contents import MOSAIC, Contents, Sums, identities
from dlir.rounds.names import channel_names, left_out
from dlir.rounds.settings import Rounds

log = logging.getLogger(__name__)
STORE, SUMS = "mosaic.ome.zarr", "mosaic.sha256"  # in the results of a round


class JoinError(ValueError):
    """The mosaics of the rounds are not those of one specimen, placed together."""


class _Part(NamedTuple):
    """The mosaic of a round."""

    name: str  # of the round
    folder: Path  # of its results
    axes: str  # of its arrays, such as cyx
    levels: "list[zarr.Array[Any]]"  # full resolution first
    shown: list[dict[str, Any]]  # how viewers show its channels
    kept: list[int]  # numbers of the channels that the whole has
    pixel_size: float  # micrometres, NaN where it is unknown

    @property
    def shape(self) -> tuple[int, ...]:
        """The size (z, y, x) of its channels, px."""
        depth = self.levels[0].shape[self.axes.index("z")] if "z" in self.axes else 1
        return depth, *self.levels[0].shape[-2:]

    @property
    def blocks(self) -> Mosaic:
        """The sizes of its chunks and of its files, px."""
        return Mosaic(chunk=self.levels[0].chunks[-1], shard=(self.levels[0].shards or self.levels[0].chunks)[-1])


def join_rounds(
    results: list[Path],
    output: Path,
    *,
    sums: Path | None = None,
    settings: Rounds = Rounds(),
    cache: Path | None = None,
) -> None:
    """Writes the OME-Zarr store `output` with the channels of all rounds; an old store stands until the new one is there.

    Args:
        results: the folders of the results of the rounds, in order, whose names are those of the rounds. Each has tiles.csv,
            mosaic.ome.zarr and mosaic.sha256.
        sums: the file for the SHA-256 of each file of the store, as `sha256sum --check` reads it.
        settings: section `rounds` of config.yaml.
        cache: the folder that keeps what is known of the files of the store, beside the caches of the rounds; None for none.

    Raises:
        JoinError: when the mosaics differ in their size, their z planes, their type of pixels or their files.
        NamesError: when the table of names has a mistake.
        OutputError: when `output` exists and is no Zarr store; a store is replaced.
        TableError: when tiles.csv is damaged.
    """
    parts = [_part(folder, first=number == 0, settings=settings) for number, folder in enumerate(results)]
    _check_alike(parts)
    labels = [[channel.get("label", "") for channel in part.shown] for part in parts]
    rounds, kept = [part.name for part in parts], [part.kept for part in parts]
    names = channel_names(settings.names, rounds, labels)
    for sentence in left_out(settings.names, rounds, labels, kept):
        log.warning(sentence)
    if output.exists() and not any(output.rglob("zarr.json")):
        raise OutputError(f"{output}: exists and is no Zarr store, so it is not replaced: give another path, or move it away")
    shown = [(number, channel) for number, part in enumerate(parts) for channel in part.kept]  # in the order of the whole
    named = [names[number][channel] for number, channel in shown]
    known: dict[str, str] = {}
    unchanged = [_unchanged(part) for part in parts] if cache else []
    with atomically(output) as partial:
        pyramid = Pyramid(partial, (1, len(shown), *parts[0].shape), str(parts[0].levels[0].dtype), parts[0].blocks)
        for number, part in enumerate(parts):
            known |= _link(part, {channel: shown.index((number, channel)) for channel in part.kept}, partial, pyramid.axes)
        omero = _omero([parts[number].shown[channel] for number, channel in shown], named)
        write_metadata(partial, pyramid, output.name.split(".")[0], parts[0].pixel_size, omero=omero)
    log.info("the mosaic of %d rounds has %d channels: %s", len(parts), len(named), ", ".join(named))
    if sums:
        files = {str(path.relative_to(output)): path for path in sorted(output.rglob("*")) if path.is_file()}
        rows = [f"{known.get(name) or hashing.of_file(path)}  {output.name}/{name}\n" for name, path in files.items()]
        with atomically(sums) as partial:
            partial.write_text("".join(rows))
    if cache:
        _keep_known(parts, unchanged, output, cache)


def _part(folder: Path, *, first: bool, settings: Rounds) -> _Part:
    """Reads what the mosaic of a round is, but none of its pixels."""
    group, tile = zarr.open_group(folder / STORE, mode="r"), tables.read(folder / "tiles.csv", tables.TILES).iloc[0]
    multiscale = ImageModel.from_zarr(group).ome_attributes.multiscales[0]
    ome: Any = group.attrs["ome"]
    levels = [zarr.open_array(folder / STORE / dataset.path, mode="r") for dataset in multiscale.datasets]
    shown, registered = ome["omero"]["channels"], tile["reference_channel"]
    left_out = {int(registered)} if settings.shared == "once" and not first and not pd.isna(registered) else set()
    kept = [number for number in range(len(shown)) if number not in left_out]
    axes = "".join(str(axis.name) for axis in multiscale.axes)
    return _Part(folder.name, folder, axes, levels, shown, kept, float(tile["pixel_size"]))


def _check_alike(parts: Sequence[_Part]) -> None:
    """Raises JoinError where the mosaics of the rounds cannot be one image."""
    first = parts[0]
    for part in parts[1:]:
        if part.levels[0].dtype != first.levels[0].dtype:
            what = f"the pixels of {part.name} are {part.levels[0].dtype}, and those of {first.name} {first.levels[0].dtype}"
            raise JoinError(f"{what}: export all rounds with one type of pixels")
        if part.shape[0] != first.shape[0]:
            what = f"{part.name} has {part.shape[0]} z planes, and {first.name} has {first.shape[0]}"
            raise JoinError(f"{what}: export as many of each round, or the maximum over z")
        if (part.shape, part.blocks) != (first.shape, first.blocks):
            what = f"the mosaics of {first.name} and {part.name} differ in their size, or in that of their files"
            raise JoinError(f"{what}: run the workflow again, which fuses what is old")


def _link(part: _Part, numbers: Mapping[int, int], store: Path, axes: str) -> dict[str, str]:
    """Links the files of the mosaic of a round into the store of the whole.

    Args:
        numbers: of its channels in the whole, by those in the round.
        axes: of the arrays of the whole.

    Returns:
        The SHA-256 of those that the round has listed, by their names in the whole.
    """
    lines = (part.folder / SUMS).read_text(encoding="utf-8").splitlines() if (part.folder / SUMS).is_file() else []
    listed = {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}
    found = {}
    for path in (path for path in (part.folder / STORE).glob("*/c/**/*") if path.is_file()):
        level, _, *place = path.relative_to(part.folder / STORE).parts
        at = dict(zip(part.axes, place, strict=True))
        number = numbers.get(int(at.get("c", 0)))
        if number is None:
            continue
        name = "/".join([level, "c", *({**at, "c": str(number)}[axis] for axis in axes)])
        link_or_copy(path, store / name)
        found[name] = listed.get(str(path.relative_to(part.folder)), "")
    return found


def _unchanged(part: _Part) -> Sums:
    """Returns the SHA-256 of those files of the mosaic of a round that are as they were when they were read last."""
    known = Contents.read(part.folder / "cache" / MOSAIC).known
    now = identities(known)
    return {path: sha256 for path, (identity, sha256) in known.items() if now.get(path) == identity}


def _keep_known(parts: Sequence[_Part], unchanged: Sequence[Sums], output: Path, cache: Path) -> None:
    """Lets the next run know what the files of all stores hold, without reading them: a link changes when they changed last."""
    by_inode: dict[int, str] = {}
    for part, sums in zip(parts, unchanged, strict=True):
        contents = Contents.read(part.folder / "cache" / MOSAIC)
        known = {path: (identity, sums[path]) for path, identity in identities(sums).items()}
        contents.known |= known
        contents.write(part.folder / "cache" / MOSAIC)
        by_inode |= {identity.inode: sha256 for identity, sha256 in known.values()}
    files = identities(str(path) for path in output.glob("*/c/**/*") if path.is_file())
    whole = Contents()
    whole.known = {path: (identity, by_inode[identity.inode]) for path, identity in files.items() if identity.inode in by_inode}
    whole.write(cache / MOSAIC)


def _omero(shown: Sequence[dict[str, Any]], names: Sequence[str]) -> Omero:
    """Returns how viewers show the channels of the whole: with the grey values of their rounds, and a colour by their names."""
    colours = display.colours([channel.get("label", "") for channel in shown])
    channels = [
        {**channel, "label": name, "color": colour} for channel, name, colour in zip(shown, names, colours, strict=True)
    ]
    return Omero(channels=[Channel.model_validate(channel) for channel in channels])
