"""Kinds out of CustomResourceDefinitions: the registry's way to serve a kind that no model here declares."""

from collections.abc import Mapping
from typing import Any

from litefleet_controller.resources.kind import Column, Kind, Scale
from litefleet_controller.resources.schema import SchemaError, compile_schema

_AGE = Column(
    "Age",
    ".metadata.creationTimestamp",
    "date",
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed "
    "to be set in happens-before order across separate operations. Clients may not set this value. It is represented "
    "in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
)
"""What a kind without columns of its own shows, described as in Kubernetes."""


def kind_from_crd(document: Mapping[str, Any]) -> Kind:
    """The kind of a CRD's storage version.

    Raises:
        SchemaError: it is no CRD, or its schema isn't structural.
    """
    try:
        spec = document["spec"]
        names = spec["names"]
        version = next(v for v in spec["versions"] if v.get("storage"))
        schema = compile_schema(version["schema"]["openAPIV3Schema"], embedded=True)
        subresources = version.get("subresources") or {}
        return Kind(
            names["kind"],
            names["plural"],
            names.get("singular") or names["kind"].lower(),
            schema,
            short_names=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            columns=_columns(version.get("additionalPrinterColumns")),
            selectable_fields=tuple(f["jsonPath"] for f in version.get("selectableFields") or ()),
            label_names=False,
            namespaced=spec.get("scope") == "Namespaced",
            has_status="status" in subresources,
            scale=_scale(subresources.get("scale")),
            group=spec["group"],
            version=version["name"],
        )
    except (KeyError, TypeError, AttributeError, StopIteration) as e:
        raise SchemaError("spec", f"this is no CustomResourceDefinition with a storage version: {e!r}") from e


def _columns(given: list[dict[str, Any]] | None) -> tuple[Column, ...]:
    """Without any, Kubernetes shows the age."""
    if not given:
        return (_AGE,)
    return tuple(
        Column(c["name"], c["jsonPath"], c["type"], c.get("description", ""), c.get("priority", 0)) for c in given
    )


def _scale(given: Mapping[str, Any] | None) -> Scale | None:
    if given is None:
        return None
    return Scale(given["specReplicasPath"], given["statusReplicasPath"], given.get("labelSelectorPath", ""))
