"""What an old `.h5` file must be before Keras opens it: one plain file, and an architecture without code.

HDF5 can point to other files (external links, external and virtual data sets), load plug-ins for its filters and go in
circles; a Keras file needs none of that. Only `litefleet model import-h5` takes one, and only in a worker: nothing here
makes the HDF5 library itself safe.
"""

import json
from pathlib import Path
from typing import Any, NoReturn

from litefleet_controller.convert.archive import HDF5_MAGIC, refuse
from litefleet_controller.convert.opening.containment import check_layers

_MAX_CONTENT_BYTES = 4 * 1024**3
_MAX_RATIO = 200
"""Weights hardly compress."""
_MAX_CONFIG_BYTES = 32 * 1024**2
_MAX_OBJECTS = 100_000
_FILTERS = frozenset({1, 2, 3, 32000})
"""deflate, shuffle, fletcher32 and lzf, which come with the library; others are loaded from plug-ins."""


def check_h5_file(path: Path) -> dict[str, Any]:
    """Refuse what isn't a plain Keras model; otherwise what it says beside its architecture and weights.

    Raises:
        ConversionError: final; `Empty`, `FormatMismatch`, `FormatUnsupported`, `ArchiveUnsafe` or `UnsafeLayer`.
    """
    with path.open("rb") as file:
        head = file.read(len(HDF5_MAGIC))
    if not head:
        refuse("Empty", "the file is empty (0 bytes)")
    if head != HDF5_MAGIC:
        refuse("FormatMismatch", f"the file isn't HDF5: it begins with {head!r}", "a .keras file needs no import")
    import h5py

    try:
        with h5py.File(path, "r") as content:
            _check_objects(content, path.stat().st_size)
            config = _attribute(content, "model_config")
            architecture = _refuse_without_architecture(content) if config is None else _parsed(config)
            found = {
                "keras_version": _attribute(content, "keras_version"),
                "training_config": _attribute(content, "training_config"),
                "optimizer_weights": "optimizer_weights" in content,
            }
    except (OSError, RuntimeError, LookupError, ValueError, TypeError) as e:  # h5py's, for what is damaged
        refuse("FormatMismatch", f"the file is damaged ({str(e)[:120]})", "copy it again")
    check_layers(architecture)
    return found


def _parsed(config: str) -> Any:
    if len(config) > _MAX_CONFIG_BYTES:
        refuse("ArchiveUnsafe", f"model_config has {len(config)} characters; the limit is {_MAX_CONFIG_BYTES}")
    try:
        return json.loads(config)
    except (ValueError, RecursionError) as e:
        refuse("FormatMismatch", f"model_config isn't JSON ({str(e)[:120]})", "copy the file again")


def _check_objects(content: Any, packed_bytes: int) -> None:
    """Every group and data set, by every path that leads to it. Not recursive: depth is the file's choice."""
    import h5py

    total, pending, seen = 0, [content], set()
    while pending:
        group = pending.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            continue
        seen.add(address)
        for name in group:
            shown = repr(f"{group.name}/{name}"[:80])
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                refuse("ArchiveUnsafe", f"{shown} is a link to another place or file, which no Keras model has")
            member = group[name]
            if isinstance(member, h5py.Group):
                pending.append(member)
            elif isinstance(member, h5py.Dataset):
                _check_data(member, shown)
                total += member.nbytes
            else:
                refuse("ArchiveUnsafe", f"{shown} is neither a group nor a data set")
            if len(seen) + len(pending) > _MAX_OBJECTS:
                refuse("ArchiveUnsafe", f"the file has more than {_MAX_OBJECTS} groups")
    if total > _MAX_CONTENT_BYTES or total > _MAX_RATIO * packed_bytes:
        refuse("ArchiveUnsafe", f"the file is a bomb: its {packed_bytes} bytes claim to hold {total}")


def _check_data(data: Any, shown: str) -> None:
    if data.external or data.is_virtual:
        refuse("ArchiveUnsafe", f"{shown} takes its data from another file")
    plan = data.id.get_create_plist()
    if strange := {plan.get_filter(i)[0] for i in range(plan.get_nfilters())} - _FILTERS:
        refuse("ArchiveUnsafe", f"{shown} is packed with filter {min(strange)}, which is a plug-in")


def _attribute(content: Any, name: str) -> str | None:
    value = content.attrs.get(name)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else None


def _refuse_without_architecture(content: Any) -> NoReturn:
    if "layer_names" in content.attrs or "model_weights" in content:
        refuse(
            "FormatUnsupported",
            "the file has weights and no architecture",
            "build the model where it was trained, model.load_weights(...) them, and model.save(...) the whole",
        )
    refuse("FormatMismatch", "the file is HDF5, and no Keras model: it has no model_config")
