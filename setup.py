"""Puts the workflow into the package that is built: the Snakefile, its rules, profiles and environment, and config.yaml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
WORKFLOW = ["Snakefile", "config.yaml", "workflow", "envs"]


class WithWorkflow(build_py):
    """Copies the workflow to dlir/_workflow, beside the modules; an editable install uses the checkout itself."""

    def run(self) -> None:
        if self.editable_mode:
            super().run()
            return
        shutil.rmtree(Path(self.build_lib) / "dlir", ignore_errors=True)  # modules of an earlier build
        super().run()
        target = Path(self.build_lib) / "dlir" / "_workflow"
        target.mkdir(parents=True)
        for name in WORKFLOW:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, target / name)
            else:
                shutil.copy2(source, target / name)


setup(cmdclass={"build_py": WithWorkflow})
