"""What a `.keras` file must be before Keras opens it: a model is a program, and this one came from somebody else.

A `.keras` file is a zip with `config.json` (the architecture), `metadata.json` and `model.weights.h5`. Everything that
is more than that is refused here, without tensorflow, so a bad file is answered in a fraction of a second. Keras's own
safe mode is a second lock, never the first. Runs in workers.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

from litefleet_controller.convert.archive import DAMAGED, ZIP_MAGIC, Contents, check_head, check_members, refuse

_NEEDED = frozenset({"config.json", "metadata.json", "model.weights.h5"})
_CONTENTS = Contents(".keras file", _NEEDED, lambda name: name in _NEEDED or name.startswith("assets/"))
_TRUSTED_MODULES = ("keras", "builtins")
_UNSAFE_CLASSES = frozenset(
    {"Lambda", "__lambda__", "function", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
)


def check_keras_file(path: Path) -> None:
    """Refuse what isn't a plain `.keras` file.

    Raises:
        ConversionError: final; `Empty`, `FormatForbidden`, `FormatMismatch`, `ArchiveUnsafe` or `UnsafeLayer`.
    """
    check_head(path, ZIP_MAGIC, "a .keras file", "")
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive.infolist(), path.stat().st_size, _CONTENTS)
            architecture = archive.read("config.json")
    except (*DAMAGED, OSError) as e:
        refuse("FormatMismatch", f"the source is a damaged zip archive ({str(e)[:120]})", "upload the file again")
    try:
        config = json.loads(architecture)
    except (ValueError, RecursionError) as e:
        refuse("FormatMismatch", f"config.json of the source isn't JSON ({str(e)[:120]})", "save the model again")
    check_layers(config)


def check_layers(config: Any) -> None:
    """Look at every serialized object of the architecture. Not recursive: depth is the file's choice."""
    if not isinstance(config, dict) or "class_name" not in config:
        refuse("FormatMismatch", "config.json of the source doesn't describe a model")
    pending: list[Any] = [config]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            _check_object(node)
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def _check_object(node: dict[str, Any]) -> None:
    name, module, registered = node.get("class_name"), node.get("module"), node.get("registered_name")
    where = node.get("config")
    label = f" {where['name']!r}" if isinstance(where, dict) and isinstance(where.get("name"), str) else ""
    if "class_name" in node and not isinstance(name, str | None):
        refuse("FormatMismatch", f"config.json of the source has an object{label} of no class", "save the model again")
    if name in _UNSAFE_CLASSES:
        refuse(
            "UnsafeLayer",
            f"the source's layer{label} is a {name}, which carries code",
            "replace it with built-in Keras layers and save the model again",
        )
    if "class_name" in node and isinstance(module, str) and module.split(".")[0] not in _TRUSTED_MODULES:
        refuse("UnsafeLayer", f"the source's object{label} comes from {module}.{name}, which isn't part of Keras")
    if isinstance(registered, str) and ">" in registered:
        refuse(
            "UnsafeLayer",
            f"the source's layer{label} is the custom class {registered!r}, which the converter doesn't know",
            "replace it with built-in Keras layers and save the model again",
        )
