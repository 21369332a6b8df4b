"""Namespaces: the tenants that objects live in. Source: Kubernetes' API reference, Namespace v1 core."""

from litefleet_controller.resources.kind import Column, Json, Kind
from litefleet_controller.resources.schema import compile_schema

NAME_LABEL = "kubernetes.io/metadata.name"
_FINALIZERS = {"type": "array", "items": {"type": "string"}, "description": "What holds it while it is deleted."}
_CONDITION = {
    "type": "object",
    "properties": {
        name: {"type": "string", "description": text}
        for name, text in (
            ("type", "What it is about."),
            ("status", "True or False."),
            ("reason", "Why, for programs."),
            ("message", "Why, for people."),
            ("lastTransitionTime", "Since when."),
        )
    },
}
_DOCUMENT: Json = {
    "type": "object",
    "description": "A tenant: a name of its own for objects, and a border that tokens can be confined to.",
    "properties": {
        "spec": {"type": "object", "description": "What the server keeps.", "properties": {"finalizers": _FINALIZERS}},
        "status": {
            "type": "object",
            "description": "Whether it is in use or goes.",
            "properties": {
                "phase": {"type": "string", "description": "Active, or Terminating while its objects are deleted."},
                "conditions": {
                    "type": "array",
                    "items": _CONDITION,
                    "description": "What a deletion waits for.",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["type"],
                },
            },
        },
    },
}


def _prepare(namespace: Json) -> Json:
    """With the label by which selectors find it, which is always its name."""
    metadata = namespace["metadata"]
    labels = {**metadata.get("labels", {}), NAME_LABEL: metadata.get("name", "")}
    return {**namespace, "metadata": {**metadata, "labels": labels}}


def _complete(namespace: Json) -> Json:
    return {**namespace, "spec": {"finalizers": ["kubernetes"]}, "status": namespace.get("status", {"phase": "Active"})}


NAMESPACE = Kind(
    "Namespace", "namespaces", "namespace", compile_schema(_DOCUMENT, embedded=True, structs=True),
    short_names=("ns",),
    categories=(),
    columns=(
        Column("Status", ".status.phase", description="The status of the namespace"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    selectable_fields=(".status.phase",),
    namespaced=False,
    group="",
    version="v1",
    builtin=True,
    has_generation=False,
    prepare=_prepare,
    complete=_complete,
)  # fmt: skip


def manifest(name: str) -> Json:
    """A namespace as a person writes it."""
    return {"apiVersion": NAMESPACE.api_version, "kind": NAMESPACE.kind, "metadata": {"name": name}}
