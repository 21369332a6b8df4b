"""The port to targets: what each can make on this machine, and what it would need for the rest.

A vendor's tool that isn't here is `Missing`, never imitated; what only the board itself can make is `DeviceSide`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from litefleet_controller.convert.progress.steps import Step
from litefleet_controller.convert.targets.compilation import Compilation
from litefleet_controller.convert.targets.prebuilt import Findings
from litefleet_controller.convert.targets.prediction import Prediction

State = Literal["Available", "Missing", "DeviceSide"]
TargetName = Literal["cpu", "edgetpu", "myriad", "gpu"]
"""As `accelerator.kind` of a DeviceClass."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a target can have one kind of file made here."""

    target: TargetName
    makes: str
    """What, in a few words."""
    state: State
    tool: str = ""
    """What makes it: where it is, or what isn't there."""
    how: str = ""
    """How to get it, or what happens on the board instead; one sentence."""


@dataclass(frozen=True, slots=True)
class Targeted:
    """What a class's boards get of one proven variant, for their accelerator."""

    name: TargetName
    state: State
    """Available when the file is what the accelerator runs; Missing when a tool for that isn't there."""
    message: str = ""
    """What was not proven, or what happens instead."""
    prediction: Prediction | None = None
    compilation: Compilation | None = None
    model: str | None = None
    """Digest of the compiled file, which goes out in place of the variant's own."""
    size: int = 0
    step: Step | None = None
    """How it was made, where something was."""
    findings: Findings | None = None
    """Of a file that was compiled elsewhere."""


class Tools(Protocol):
    """What is installed on a machine. Asking runs nothing."""

    @property
    def machine(self) -> str:
        """Operating system and processor, e.g. `linux x86_64`."""
        ...

    def program(self, setting: str, *names: str) -> Path | None:
        """An executable file: where the environment variable `setting` says, or the first of `names` on the PATH."""
        ...

    def version(self, distribution: str) -> str | None:
        """Of an installed Python package, None when there is none."""
        ...


class Target(Protocol):
    """One kind of accelerator."""

    name: TargetName
    boards: str
    """What people call it."""

    def standings(self, tools: Tools) -> Sequence[Standing]:
        """One for each kind of file, the one that every board of the kind gets first."""
        ...
