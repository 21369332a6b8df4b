"""Patches: RFC 7396 merge patches and RFC 6902 JSON patches, applied to a copy."""

import copy
from typing import Any

import jsonpatch
import jsonpointer

from litefleet_controller.resources.schema import Schema
from litefleet_controller.store.errors import PatchError
from litefleet_controller.store.interface import Json, Patch
from litefleet_controller.store.strategic import strategic_patch

_MAX_OPERATIONS = 10_000
"""As Kubernetes limits it: a `copy` in a loop would grow without bound."""
_MAX_COPIES = 100


def apply_patch(document: Json, patch: Patch, schema: Schema) -> Json:
    """`document` patched; the original stays as it is. `schema` tells a strategic merge which lists have keys.

    Raises:
        PatchError: malformed, or it doesn't fit the document.
    """
    if patch.type == "json":
        return _json_patch(document, patch.body)
    if not isinstance(patch.body, dict):
        raise PatchError(f"a merge patch is an object, not {type(patch.body).__name__}", malformed=True)
    merged: Json = (
        merge_patch(document, patch.body) if patch.type == "merge" else strategic_patch(document, patch.body, schema)
    )
    return merged


def merge_patch(target: Any, patch: Any) -> Any:
    """MergePatch of RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def _json_patch(document: Json, operations: Any) -> Json:
    if not isinstance(operations, list) or not all(isinstance(o, dict) for o in operations):
        raise PatchError("a JSON patch is a list of operations", malformed=True)
    if len(operations) > _MAX_OPERATIONS or sum(o.get("op") == "copy" for o in operations) > _MAX_COPIES:
        raise PatchError(
            f"a JSON patch has at most {_MAX_OPERATIONS} operations, {_MAX_COPIES} of them copies", malformed=True
        )
    try:
        patched = jsonpatch.JsonPatch(operations).apply(document)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, ValueError, KeyError) as e:
        raise PatchError(f"the JSON patch doesn't fit: {e}") from e
    if not isinstance(patched, dict):
        raise PatchError("the JSON patch replaces the object by something that isn't one")
    return patched
