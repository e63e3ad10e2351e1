"""How the mosaic was made: the settings and the versions of the page are those of provenance.json."""

from pathlib import Path

from support.results import results_of_grid

from dlir.reporting.made import flat, made


def test_settings_and_versions_come_from_the_provenance(tmp_path: Path) -> None:
    provenance = {"settings": {"place": {"model": "auto", "camera": None}}, "versions": {"dlir": "1.2"}, "stages": {}}
    found = made(results_of_grid(tmp_path)._replace(provenance=provenance))
    assert found["settings"] == [["place.model", "auto"], ["place.camera", "null"]]
    assert found["versions"] == [["dlir", "1.2"]]
    assert made(results_of_grid(tmp_path))["settings"] == []


def test_settings_are_written_as_in_a_file_of_settings() -> None:
    found = flat({"datasets": {"<b>": {"overlap": [0.1, 0.2], "snake": True}}, "empty": {}})
    assert found == [("datasets.<b>.overlap", "0.1, 0.2"), ("datasets.<b>.snake", "true"), ("empty", "{}")]
