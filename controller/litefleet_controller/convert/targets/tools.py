"""What is installed on this machine, without running or importing any of it."""

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from litefleet_controller.convert.targets.interface import Standing, TargetName, Tools
from litefleet_controller.resources.recipe import recipes


class InstalledTools:
    """Implements `interface.Tools` for an environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    @property
    def machine(self) -> str:
        """See Tools."""
        return f"{sys.platform} {platform.machine()}"

    def program(self, setting: str, *names: str) -> Path | None:
        """See Tools. A setting that names no executable file is as good as a tool that isn't there."""
        if configured := self._environment.get(setting):
            return (
                Path(configured).absolute() if os.access(configured, os.X_OK) and Path(configured).is_file() else None
            )
        found = (shutil.which(name, path=self._environment.get("PATH", "")) for name in names)
        return next((Path(place).absolute() for place in found if place), None)

    def version(self, distribution: str) -> str | None:
        """See Tools."""
        try:
            return version(distribution)
        except PackageNotFoundError:
            return None


@dataclass(frozen=True, slots=True)
class Packages:
    """Python packages that make something, the extra that brings them, and the recipe that asks for it."""

    needed: tuple[str, ...]
    extra: str
    recipe: str

    def standing(self, target: TargetName, makes: str, tools: Tools) -> Standing:
        """Available when all are installed and this version has the recipe."""
        versions = {name: tools.version(name) for name in self.needed}
        if self.recipe not in recipes():
            return Standing(target, makes, "Missing", self.recipe, f"this version has no recipe {self.recipe}")
        if missing := [name for name, found in versions.items() if found is None]:
            return Standing(target, makes, "Missing", ", ".join(missing), f"install litefleet-controller[{self.extra}]")
        return Standing(target, makes, "Available", ", ".join(f"{name} {found}" for name, found in versions.items()))
