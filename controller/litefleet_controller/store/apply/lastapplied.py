"""Moving from client-side to server-side apply, as Kubernetes helps `kubectl` (and no other manager) with it.

kubectl's client-side apply keeps the last file in an annotation. Its fields count as kubectl's own when they are still
so, and the annotation follows what is applied, so that one can go back.
"""

import json
from typing import Any

from litefleet_controller.resources.schema import Schema
from litefleet_controller.store.apply.comparing import compare
from litefleet_controller.store.apply.fieldset import Fields, difference, union
from litefleet_controller.store.apply.shapes import of_value
from litefleet_controller.store.apply.tracking import Writer
from litefleet_controller.store.interface import Json

MANAGER = "kubectl"
ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


def own_fields(live: Json, schema: Schema, writer: Writer) -> Fields:
    """The fields of the last file that nobody has changed since."""
    try:
        last = json.loads(_annotations(live)[ANNOTATION])
        config = writer.part(last)
    except (KeyError, ValueError, AttributeError, RecursionError):
        return {}  # there is none, or somebody broke it: then it allows nothing
    comparison = compare(config, writer.part(live), schema)
    return difference(of_value(config, schema), union(comparison.written, comparison.removed))


def synced(merged: Json, applied: Json) -> Json:
    """`merged` with the annotation, if it has one, brought up to date."""
    annotations = _annotations(merged)
    if ANNOTATION not in annotations:
        return merged
    metadata = dict(applied.get("metadata", {}))
    rest = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != ANNOTATION}
    if "annotations" in metadata:
        metadata["annotations"] = rest
    text = json.dumps({**applied, "metadata": metadata}, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return {
        **merged,
        "metadata": {**merged["metadata"], "annotations": {**annotations, ANNOTATION: f"{text}\n"}},
    }


def _annotations(body: Json) -> dict[str, Any]:
    return body["metadata"].get("annotations") or {}
