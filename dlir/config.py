"""The whole of config.yaml, put together from the settings of the wings."""

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field, model_validator

from dlir.core.settings import Section, SettingsError
from dlir.demo.settings import DEMO_IMAGES, DEMO_TRUTH, Demo
from dlir.fusion.settings import Exposure, Mosaic
from dlir.illumination.settings import Illumination
from dlir.placement.settings import Place
from dlir.reading.settings import Dataset, Layout, folder_name
from dlir.registration.settings import Pairs, Register, Selfcheck, Train
from dlir.reporting.settings import Report
from dlir.rounds.settings import Rounds
from dlir.survey.settings import LayoutCheck

SHARED = ("model.pt", "model.csv", "model.key", "logs", "benchmarks")  # results of train.share, beside the datasets


def _dataset_name(name: str) -> str:
    """Returns the name of a dataset when its results can lie in a folder of that name."""
    if folder_name(name) in SHARED:
        raise ValueError("is what a result of all datasets together is called: choose another name")
    return name


class Settings(Section):
    """The whole of `config.yaml`, each dataset completed with the keys of `tiles`."""

    datasets: dict[Annotated[str, AfterValidator(_dataset_name)], Dataset] = Field({}, validate_default=False)
    tiles: Layout = Layout()
    layout: LayoutCheck = LayoutCheck()
    demo: Demo = Demo()
    illumination: Illumination = Illumination()
    pairs: Pairs = Pairs()
    train: Train = Train()
    register_: Register = Field(Register(), alias="register")
    selfcheck: Selfcheck = Selfcheck()
    place: Place = Place()
    exposure: Exposure = Exposure()
    mosaic: Mosaic = Mosaic()
    rounds: Rounds = Rounds()
    report: Report = Report()

    @model_validator(mode="before")
    @classmethod
    def complete_datasets(cls, data: Any) -> Any:
        """Give each dataset the layout of `tiles`; without any dataset, the demo is the one."""
        if not isinstance(data, dict):
            raise ValueError("is no list of sections: give keys with values below them, as in config.yaml of dlir")
        layout, demo = (own if isinstance(own := data.get(name), dict) else {} for name in ("tiles", "demo"))
        datasets = data.get("datasets")
        if datasets in (None, {}):
            overlap = demo.get("overlap", Demo().overlap)
            datasets = {"demo": {"images": DEMO_IMAGES, "truth": DEMO_TRUTH, "overlap": overlap, "start": "top-left"}}
        if not isinstance(datasets, dict) or not all(isinstance(own, dict) for own in datasets.values()):
            raise ValueError("datasets: each dataset is a name with keys below it, at least images")
        return {**data, "datasets": {name: {**layout, **own} for name, own in datasets.items()}}

    @model_validator(mode="after")
    def placements_are_of_others(self) -> "Settings":
        """Raises ValueError when a dataset is to take over its own placement."""
        for name, dataset in self.datasets.items():
            if dataset.placement == Path("results", name, "placement.csv"):
                raise ValueError(f"datasets.{name}.placement: is the placement of this very dataset: give that of another one")
        return self


def check_keys(file: Path) -> None:
    """Raises SettingsError when a key stands twice in a section of a YAML file: YAML would take the last in silence."""
    try:
        nodes = [yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)]
    except yaml.YAMLError:  # Snakemake has read the file, so it is JSON with tabs
        return
    for node in nodes:  # grows
        entries = node.value if isinstance(node, yaml.MappingNode) else []
        keys: set[str] = set()
        for key, _ in entries:
            if str(key.value) in keys:
                line = key.start_mark.line + 1
                raise SettingsError(f"{file}, line {line}: the key {key.value} is there twice: join the two, or delete one")
            keys.add(str(key.value))
        below = node.value if isinstance(node, yaml.SequenceNode) else [value for _, value in entries]
        nodes += [child for child in below if child not in nodes]  # an alias of YAML may lead back to an earlier one
