"""Coral's published table of what the Edge TPU runs, as data: edgetpu_operations.yaml."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec
from msgspec import Struct


class Operation(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One operator that the Edge TPU has."""

    read: Literal["current", "2019", "name"]
    """In which copy of the table its limits were read."""
    limits: tuple[str, ...] = ()
    """Rules that it must hold, or it runs on the CPU."""
    doubts: tuple[str, ...] = ()
    """Rules that only make the prediction less sure."""
    refused_from: int | None = None
    """The lowest version of the operator that the last compiler was seen to reject."""


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    source: str
    operations: Mapping[str, Operation]


@cache
def table() -> Table:
    """Operators by LiteRT's names."""
    return msgspec.yaml.decode((files(__package__) / "edgetpu_operations.yaml").read_bytes(), type=Table)
