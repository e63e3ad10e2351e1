"""The settings: `config.yaml` and the classes say the same, and what is wrong is named."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from dlir.config import Settings, check_keys
from dlir.core.settings import SettingsError
from dlir.demo import make as demo
from dlir.demo.settings import DEMO_TRUTH
from dlir.fusion.settings import Mosaic
from dlir.reading.settings import Dataset
from dlir.registration.settings import Train

CONFIG = Path(__file__).parents[1] / "config.yaml"
MINE = {"images": "tiles/{row}_{col}.tif"}


@pytest.fixture
def config() -> dict[str, Any]:
    """The tree of config.yaml, free to change."""
    return yaml.safe_load(CONFIG.read_text())


def keys_of(model: type[BaseModel]) -> dict[str, Any]:
    """The keys of a model, with those of the models below it."""
    kinds = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    is_section = {name: isinstance(kind, type) and issubclass(kind, BaseModel) for name, kind in kinds.items()}
    return {name: keys_of(kind) if is_section[name] else None for name, kind in kinds.items()}


def test_config_and_models_have_the_same_keys_in_the_same_order(config: dict[str, Any]) -> None:
    written = {name: dict.fromkeys(part) if name != "datasets" else None for name, part in config.items()}
    models = keys_of(Settings)
    assert written == models
    assert list(written) == list(models)
    assert [list(part or {}) for part in written.values()] == [list(part or {}) for part in models.values()]


def test_config_has_the_defaults_of_the_classes(config: dict[str, Any]) -> None:
    written = {name: part for name, part in config.items() if name != "datasets"}
    assert Settings().model_dump(mode="json", by_alias=True, exclude={"datasets"}) == written


def test_a_file_with_few_keys_is_completed() -> None:
    loaded = Settings.checked({"datasets": {"mine": MINE}, "train": {"steps": 0}})
    assert loaded.train == Train(steps=0)
    assert loaded.datasets["mine"] == Dataset(images=MINE["images"])


def test_a_number_may_be_a_text_as_snakemake_reads_the_command_line() -> None:
    assert Settings.checked({"mosaic": {"interpolation": "3", "bands": "2"}}).mosaic.interpolation == 3


def test_a_removed_key_says_what_to_do() -> None:
    with pytest.raises(SettingsError, match=r"(?m)^  demo\.shading: is no key any more: .* delete the key$"):
        Settings.checked({"demo": {"shading": 0.4}})


def test_every_line_of_config_has_a_comment() -> None:
    lines = [line for line in CONFIG.read_text().splitlines() if line.strip()]
    assert [line for line in lines if "#" not in line] == []


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (["mosiac"], "mosiac"),
        (["train", "step"], "train.step"),
        (["register", "metod"], "register.metod"),
        (["datasets", "mine", "overlp"], "datasets.mine.overlp"),
    ],
)
def test_typo_is_named_with_its_path(config: dict[str, Any], path: list[str], named: str) -> None:
    config["datasets"] = {"mine": dict(MINE)}
    section = config
    for name in path[:-1]:
        section = section[name]
    section[path[-1]] = 1
    with pytest.raises(SettingsError, match=f"(?m)^  {named}: unknown key"):
        Settings.checked(config)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("selfcheck", "count", 0, "selfcheck.count: is 0: give a whole number from 1 to 100000"),
        ("train", "steps", -1, "train.steps: is -1: give a whole number from 0 to 10000000"),
        ("train", "steps", "many", "train.steps: is many: give a whole number from 0 to"),
        ("register", "method", "magic", "register.method: magic is not a method: give network, phase, or a function"),
        ("mosaic", "shard", 300, r"mosaic: shard \(300\) must be a multiple of chunk \(256\)"),
    ],
)
def test_wrong_value_is_named(config: dict[str, Any], section: str, key: str, value: object, message: str) -> None:
    config[section][key] = value
    with pytest.raises(SettingsError, match=f"(?m)^  {message}"):
        Settings.checked(config)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({}, r"datasets\.mine\.images: is missing"),
        ({"images": "tiles/*.tif"}, r"datasets\.mine: images needs \{row\} and \{col\}, or \{index\}"),
        ({"images": "tiles/{index}.tif"}, r"datasets\.mine: a path with \{index\} needs columns"),
        (
            {"images": "tiles/{row}_{col}{channel}.tif"},
            r"datasets\.mine: images has \{col\}\{channel\}, and nothing says where",
        ),
        ({**MINE, "reference_z": "min"}, r"datasets\.mine\.reference_z"),
        ({**MINE, "overlap": 10}, r"datasets\.mine\.overlap: is 10: give auto, or a part of a tile between 0 and 1"),
        ({**MINE, "overlap": [0.1, 0.2, 0.3]}, r"datasets\.mine\.overlap: is \[0\.1, 0\.2, 0\.3\]"),
        ({**MINE, "colums": 3}, r"datasets\.mine\.colums: unknown key; did you mean columns\?"),
    ],
)
def test_wrong_dataset_is_named(config: dict[str, Any], dataset: dict[str, Any], message: str) -> None:
    config["datasets"] = {"mine": dataset}
    with pytest.raises(SettingsError, match=f"(?m)^  {message}"):
        Settings.checked(config)


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a b"])
def test_name_of_a_dataset_is_one_of_a_plain_folder(config: dict[str, Any], name: str) -> None:
    config["datasets"] = {name: MINE}
    with pytest.raises(SettingsError, match=r"datasets\..*: is no name for a folder"):
        Settings.checked(config)


@pytest.mark.parametrize("datasets", ["tiles/*.tif", ["tiles"], {"mine": "tiles/{row}_{col}.tif"}])
def test_datasets_of_the_wrong_form_are_an_error(config: dict[str, Any], datasets: object) -> None:
    config["datasets"] = datasets
    with pytest.raises(SettingsError, match="datasets: each dataset is a name with keys below it"):
        Settings.checked(config)


@pytest.mark.parametrize("empty", [{}, None])
def test_without_datasets_the_demo_runs(config: dict[str, Any], empty: object) -> None:
    config["datasets"] = empty
    loaded = Settings.checked(config)
    assert list(loaded.datasets) == ["demo"]
    assert loaded.datasets["demo"].truth == Path(DEMO_TRUTH)
    assert loaded.datasets["demo"].overlap == loaded.demo.overlap


def test_datasets_replace_the_demo_and_take_the_layout_of_tiles(config: dict[str, Any]) -> None:
    config["datasets"] = {"mine": {**MINE, "overlap": [0.1, 0.2]}, "other": MINE}
    config["tiles"]["snake"] = True
    loaded = Settings.checked(config).datasets
    assert list(loaded) == ["mine", "other"]
    assert loaded["mine"].overlap == (0.1, 0.2)
    assert loaded["other"].overlap == config["tiles"]["overlap"]
    assert loaded["mine"].snake
    assert loaded["mine"].truth is None


def test_demo_writes_the_tiles_that_its_settings_name(config: dict[str, Any], tmp_path: Path) -> None:
    config["demo"] |= {"rows": 1, "columns": 2, "tile": 64}
    small = Settings.checked(config).demo
    demo.demo(tmp_path, settings=small)
    named = [Path(path).relative_to("results/demo") for path in small.images]
    assert named == sorted(path.relative_to(tmp_path) for path in tmp_path.glob("tiles/*"))
    assert (tmp_path / Path(DEMO_TRUTH).relative_to("results/demo")).is_file()


def test_a_section_survives_the_way_to_the_command_line(config: dict[str, Any]) -> None:
    config["datasets"] = {"mine": {**MINE, "overlap": [0.1, 0.2], "positions": "a b.csv"}}
    loaded = Settings.checked(config)
    mine = loaded.datasets["mine"]
    assert Dataset.parse(mine.model_dump_json()) == mine
    assert Mosaic.parse(loaded.mosaic.model_dump_json()) == loaded.mosaic
    assert Mosaic.parse('{"shard": 512}') == Mosaic(shard=512)


def test_settings_are_frozen(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings.checked(config).train.steps = 1


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("datasets: {a: {images: x}}\ndatasets: {b: {images: y}}\n", 2, "datasets"),
        ("datasets:\n  a: {images: x}\n  b: {images: y}\n  a: {images: z}\n", 4, "a"),
        ("tiles:\n  overlap: [{a: 1, a: 2}]\n", 2, "a"),
    ],
)
def test_a_key_that_stands_twice_is_an_error(tmp_path: Path, text: str, line: int, key: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(SettingsError, match=rf"mine\.yaml, line {line}: the key {key} is there twice: join the two"):
        check_keys(tmp_path / "mine.yaml")


@pytest.mark.parametrize("text", ["", "a: 1\nb: {a: 1}\n", "a: &x [*x]\nb: *x\n", '{\n\t"a": {"b": 1}\n}', "? [a]\n: b\n"])
def test_keys_that_stand_once_are_right(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    check_keys(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"positions": "p.csv"}, "placement says where the tiles lie, and positions has no effect: delete one of the two"),
        ({"overrides": "p.csv"}, "placement says where the tiles lie, and overrides has no effect"),
        ({"placement": "results/a/placement.csv"}, "datasets.a.placement: is the placement of this very dataset"),
    ],
)
def test_a_placement_of_another_run_excludes_one_of_its_own(keys: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings.checked({"datasets": {"a": {"images": "*.tif", "placement": "x.csv", **keys}}})
    assert Settings.checked({"datasets": {"a": {"images": "*.tif", "placement": "x.csv"}}})
