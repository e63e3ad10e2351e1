"""The whole of config.yaml, put together from the settings of the wings."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from dlir.core.settings import Section
from dlir.demo.settings import DEMO_IMAGES, DEMO_TRUTH, Demo
from dlir.fusion.settings import Exposure, Mosaic
from dlir.illumination.settings import Illumination
from dlir.placement.settings import Place
from dlir.reading.settings import Dataset, Layout
from dlir.registration.settings import Pairs, Register, Selfcheck, Train
from dlir.reporting.settings import Report
from dlir.survey.settings import LayoutCheck


def _folder_name(name: str) -> str:
    """Returns the name of a dataset when its results can lie in a folder of that name."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ValueError("is no name for a folder: use letters, digits, _, - and ., and begin with a letter, a digit or _")
    return name


class Settings(Section):
    """The whole of `config.yaml`, each dataset completed with the keys of `tiles`."""

    datasets: dict[Annotated[str, AfterValidator(_folder_name)], Dataset] = Field({}, validate_default=False)
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
