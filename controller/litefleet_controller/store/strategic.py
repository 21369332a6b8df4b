"""Strategic merge patches, for Kubernetes' own kinds: as RFC 7396, but lists with keys are merged item by item.

Source: Kubernetes' documentation of strategic merge patch. Of its directives `$patch: delete` and `$patch: replace` are
followed; others are refused, because ignoring them would do something else than asked.
"""

import copy
from typing import Any

from litefleet_controller.resources.schema import Schema
from litefleet_controller.store.errors import PatchError


def strategic_patch(target: Any, patch: Any, schema: Schema | None) -> Any:
    """`target` with `patch` merged in; the original stays as it is.

    Raises:
        PatchError: a directive that isn't known, or an item of a keyed list without its key.
    """
    if isinstance(patch, dict):
        return _merged_map(target if isinstance(target, dict) else {}, patch, schema)
    if isinstance(patch, list) and schema is not None and schema.list_type == "map":
        return _merged_list(target if isinstance(target, list) else [], patch, schema)
    return copy.deepcopy(patch)


def _merged_map(target: dict[str, Any], patch: dict[str, Any], schema: Schema | None) -> dict[str, Any]:
    directive, changes = _directive(patch)
    if directive == "delete":
        return {}
    merged = {} if directive == "replace" else dict(target)
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        else:
            inner = None if schema is None else schema.properties.get(name, schema.additional)
            merged[name] = strategic_patch(merged.get(name), value, inner)
    return merged


def _merged_list(target: list[Any], patch: list[Any], schema: Schema) -> list[Any]:
    merged = {_key(item, schema): item for item in target}
    for item in patch:
        directive, changes = _directive(item) if isinstance(item, dict) else ("", item)
        if directive == "replace" and not changes:
            merged.clear()
            continue
        key = _key(changes, schema)
        if directive == "delete":
            merged.pop(key, None)
        else:
            before = None if directive == "replace" else merged.get(key)
            merged[key] = strategic_patch(before, changes, schema.items)
    return list(merged.values())


def _directive(patch: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What `$patch` says, and the patch without it."""
    directive = patch.get("$patch", "merge")
    unknown = next((name for name in patch if name.startswith("$") and name != "$patch"), None)
    if unknown is not None or directive not in ("merge", "delete", "replace"):
        shown = unknown or f"$patch: {directive}"
        raise PatchError(f"the directive {shown!r} is not supported; use $patch: delete or replace", malformed=True)
    return directive, {name: value for name, value in patch.items() if name != "$patch"}


def _key(item: Any, schema: Schema) -> tuple[str, ...]:
    values = [item.get(key) if isinstance(item, dict) else None for key in schema.list_map_keys]
    if None in values:
        names = ", ".join(schema.list_map_keys)
        raise PatchError(f"an item of this list is told from others by {names}, which is missing", malformed=True)
    return tuple(map(str, values))
