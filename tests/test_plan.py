"""The plan of a run: it counts tiles, reads one header, and grows as the measured needs of the steps do."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

from dlir import plan
from dlir.config import Settings
from dlir.needs import Extent, needs
from dlir.reading.image_files import ImageError

SMALL = Extent(tiles=30, columns=6, height=512, width=512, channels=1, planes=1, itemsize=2)


def written(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        tifffile.imwrite(folder / name, np.zeros((24, 40), np.uint16))


def test_the_extent_is_that_of_the_files(tmp_path: Path) -> None:
    names = [
        f"r{row}_c{col}_z{z}_{channel}.tif" for row in (0, 1) for col in range(3) for z in range(4) for channel in ("a", "b")
    ]
    written(tmp_path, names)
    settings = Settings.checked({"datasets": {"x": {"images": str(tmp_path / "r{row}_c{col}_z{z}_{channel}.tif")}}})
    assert plan.extent_of(settings.datasets["x"]) == Extent(6, 3, 24, 40, 2, 4, 2)


@pytest.mark.parametrize("step", plan.STEPS)
def test_more_and_larger_tiles_need_more(step: str) -> None:
    more, larger = SMALL._replace(tiles=3000, columns=60), SMALL._replace(height=4096, width=4096)
    for other in (more, larger):
        assert needs(step, other).wall(1) >= needs(step, SMALL).wall(1)
        assert needs(step, other).memory >= needs(step, SMALL).memory
    assert needs(step, SMALL).wall(8) <= needs(step, SMALL).wall(1)


@pytest.mark.parametrize(("channels", "measured"), [(1, 1509), (3, 3269)])  # MB, of register and of mosaic
def test_the_memory_for_very_large_tiles_is_that_of_a_run(channels: int, measured: float) -> None:
    huge = Extent(tiles=9, columns=3, height=6000, width=6000, channels=channels, planes=1, itemsize=2 if channels == 1 else 1)
    assert measured / 1.5 < max(needs(step, huge).memory for step in plan.STEPS) < 1.5 * measured


def test_the_memory_does_not_grow_with_the_number_of_tiles() -> None:
    many = SMALL._replace(tiles=20_000, columns=140, height=2048, width=2048)
    fewer = many._replace(tiles=2_000, columns=45)
    for step in ("illumination", "register", "mosaic"):
        assert needs(step, many).memory == pytest.approx(needs(step, fewer).memory)


def test_a_plan_is_printed_for_each_dataset_and_in_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for well in ("A1", "B1"):
        written(tmp_path / well, [f"r{row}_c{col}.tif" for row in (0, 1) for col in (0, 1)])
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump({"datasets": {"plate": {"images": str(tmp_path / "{well}/r{row}_c{col}.tif")}}})
    )
    plan.plan(tmp_path / "mine.yaml", cores=2)
    first, second, total = capsys.readouterr().out.splitlines()
    assert first.startswith("plate/A1: 4 tiles of 24 x 40 px, 1 channels, 1 planes: about ")
    assert second.startswith("plate/B1: ") and total.startswith("in all, with 2 cores of this machine: about ")


def test_training_is_counted_where_it_is_sure_and_told_where_it_may_be() -> None:
    by_when = {
        when: plan.of_dataset(SMALL, Settings.checked({"datasets": {"x": {"images": "{row}{col}.tif"}}}).datasets["x"],
                              Settings.checked({"train": {"when": when}}), 2)
        for when in ("always", "never", "auto")
    }  # fmt: skip
    assert by_when["always"].seconds > by_when["never"].seconds + 30 and not by_when["always"].training
    assert by_when["auto"].seconds == by_when["never"].seconds and by_when["auto"].training > 30


def test_a_tile_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "r0_c0.tif").write_bytes(b"no image")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"datasets": {"x": {"images": str(tmp_path / "r{row}_c{col}.tif")}}}))
    with pytest.raises(ImageError, match=r"r0_c0\.tif"):
        plan.plan(tmp_path / "mine.yaml")


def test_the_rounds_of_a_specimen_are_planned_with_what_they_take_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("R1", "R2"):
        written(tmp_path / name, [f"r{row}_c{col}.tif" for row in (0, 1) for col in (0, 1)])
    settings = {"datasets": {"slide": {"images": str(tmp_path / "{round}/r{row}_c{col}.tif")}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    plan.plan(tmp_path / "mine.yaml", cores=2)
    names = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["slide/R1", "slide/R2", "slide", "in all, with 2 cores of this machine"]


@pytest.mark.parametrize("step", plan.OF_ROUNDS)
def test_the_memory_of_the_steps_of_rounds_hardly_grows_with_their_number(step: str) -> None:
    assert needs(step, SMALL._replace(tiles=300)).memory < 1.1 * needs(step, SMALL).memory
