"""Which form of an answer a client wants: the object itself, a Table, or its metadata alone; JSON or YAML."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from litefleet_controller.api.errors import not_acceptable

Shape = Literal["object", "table", "partial"]
_ACCEPTED = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
"""As Kubernetes names them; protobuf is only answered where its own kinds are."""
_ACCEPTED_WATCH = ("application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")
_SHAPES: dict[str, Shape] = {
    "Table": "table",
    "PartialObjectMetadata": "partial",
    "PartialObjectMetadataList": "partial",
}


@dataclass(frozen=True, slots=True)
class Form:
    """What was agreed on."""

    shape: Shape = "object"
    yaml: bool = False
    meta_version: str = "v1"
    """Version of meta.k8s.io for Table and PartialObjectMetadata."""


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One entry of an Accept header."""

    type: str
    parameters: dict[str, str]


def accepted(header: str | None) -> Iterator[MediaRange]:
    """The entries of an Accept header in order; what has a lower `q` isn't moved back, as no client here sends one."""
    for entry in (header or "*/*").split(","):
        media, *rest = entry.split(";")
        pairs = (p.strip().partition("=") for p in rest)
        yield MediaRange(media.strip().lower(), {name: value for name, _, value in pairs})


def negotiate(header: str | None, *, watch: bool = False) -> Form:
    """The first entry that can be served.

    Raises:
        ApiError: 406, naming what can be.
    """
    for entry in accepted(header):
        form = _form(entry, watch=watch)
        if form is not None:
            return form
    raise not_acceptable(_ACCEPTED_WATCH if watch else _ACCEPTED)


def _form(entry: MediaRange, *, watch: bool) -> Form | None:
    if entry.type in ("application/yaml", "text/yaml") and not watch and "as" not in entry.parameters:
        return Form(yaml=True)
    if entry.type not in ("application/json", "application/*", "*/*"):
        return None
    wanted = entry.parameters.get("as")
    if wanted is None:
        return Form()
    shape = _SHAPES.get(wanted)
    version = entry.parameters.get("v", "")
    if shape is None or entry.parameters.get("g") != "meta.k8s.io" or version not in ("v1", "v1beta1"):
        return None
    return Form(shape, meta_version=version)
