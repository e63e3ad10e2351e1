"""Rounds that cannot be one image are refused before any job starts."""

from pathlib import Path

import pytest

from dlir.reading.settings import Dataset
from dlir.rounds.alike import RoundsError, check


def test_two_rounds_with_the_same_files_are_refused() -> None:
    dataset = Dataset(images="R1/{row}_{col}.tif")
    files = [Path("R1/0_0.tif"), Path("R1/0_1.tif")]
    with pytest.raises(RoundsError, match=r"s: R1 and R2 have the same files, such as R1/0_0.tif: write \{round\} in images"):
        check("s", {"R1": (dataset, files), "R2": (dataset, files)})


def test_tables_may_take_rounds_from_one_file() -> None:
    datasets = [Dataset(images="scan.czi", positions=Path(f"{name}.txt")) for name in ("R1", "R2")]
    check("s", {str(number): (dataset, [Path("scan.czi")]) for number, dataset in enumerate(datasets)})
