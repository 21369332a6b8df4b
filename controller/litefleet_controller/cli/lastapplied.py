"""What apply changes: the three-way merge of kubectl, and the annotation in which both programs remember.

Fields that the manifest has are set; fields that the manifest had when it was applied last and has no longer are
removed; fields that others set are left alone. The memory is kubectl's own annotation, in kubectl's own spelling, so
that `kubectl apply` and `litefleet apply` can take turns. Pure: no I/O.

Source: kubectl's pkg/util/apply.go (GetModifiedConfiguration), apimachinery's CreateThreeWayJSONMergePatch.
"""

import json
from typing import Any

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Json = dict[str, Any]


def with_memory(manifest: Json, namespace: str | None) -> Json:
    """The manifest as it is sent: its namespace filled in, and itself remembered in the annotation."""
    metadata = dict(manifest.get("metadata") or {})
    if namespace is not None:
        metadata["namespace"] = namespace
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != LAST_APPLIED}
    remembered = {**manifest, "metadata": {**metadata, "annotations": annotations}}
    text = _go_json(remembered) + "\n"
    return {**manifest, "metadata": {**metadata, "annotations": {**annotations, LAST_APPLIED: text}}}


def remembered(live: Json) -> Json:
    """What was applied last; empty when nothing was, or when it can't be read."""
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    try:
        manifest = json.loads(text) if text else {}
    except ValueError:
        return {}
    return manifest if isinstance(manifest, dict) else {}


def three_way(original: Json, modified: Json, current: Json) -> Json:
    """The merge patch that takes `current` to `modified`, and removes what `original` had besides."""
    return _merged(_removals(original, modified, current), _changes(modified, current))


def _changes(modified: Json, current: Json) -> Json:
    """Additions and changes only."""
    patch: Json = {}
    for key, value in modified.items():
        if key not in current:
            # A null in a manifest asks for absence, which is what there is.
            if value is not None:
                patch[key] = value
        elif isinstance(value, dict) and isinstance(current[key], dict):
            inner = _changes(value, current[key])
            if inner:
                patch[key] = inner
        elif value != current[key] or isinstance(value, bool) != isinstance(current[key], bool):
            patch[key] = value
    return patch


def _removals(original: Json, modified: Json, current: Json) -> Json:
    """Nulls for what `original` has, `modified` lacks and `current` still has."""
    patch: Json = {}
    for key, value in original.items():
        if key not in current:
            continue
        if key not in modified:
            patch[key] = None
        elif isinstance(value, dict) and isinstance(modified[key], dict) and isinstance(current[key], dict):
            inner = _removals(value, modified[key], current[key])
            if inner:
                patch[key] = inner
    return patch


def _merged(one: Json, other: Json) -> Json:
    result = dict(one)
    for key, value in other.items():
        mine = result.get(key)
        result[key] = _merged(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return result


def _go_json(value: Any) -> str:
    """JSON as Go's encoder writes it: sorted keys, no blanks, `<>&` escaped, whole floats as integers."""
    text = json.dumps(_go_numbers(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _go_numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {k: _go_numbers(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_go_numbers(v) for v in value]
    return value
