"""What a `.keras` file must be before Keras opens it: a model is a program, and this one came from somebody else.

A `.keras` file is a zip with `config.json` (the architecture), `metadata.json` and `model.weights.h5`. Everything that
is more than that is refused here, without tensorflow, so a bad file is answered in a fraction of a second. Keras's own
safe mode is a second lock, never the first. Runs in workers.
"""

import json
import stat
import zipfile
from pathlib import Path
from typing import Any, NoReturn

from litefleet_controller.convert.interface import ConversionError

_MAX_CONTENT_BYTES = 4 * 1024**3
_MAX_CONFIG_BYTES = 32 * 1024**2
_MAX_MEMBERS = 64
_MAX_RATIO = 200
"""Weights hardly compress and Keras doesn't compress them; JSON reaches 20."""

_NEEDED = frozenset({"config.json", "metadata.json", "model.weights.h5"})
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_PICKLE_MAGIC = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_TRUSTED_MODULES = ("keras", "builtins")
_UNSAFE_CLASSES = frozenset(
    {"Lambda", "__lambda__", "function", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
)


def check_keras_file(path: Path) -> None:
    """Refuse what isn't a plain `.keras` file.

    Raises:
        ConversionError: final; `Empty`, `FormatForbidden`, `FormatMismatch`, `ArchiveUnsafe` or `UnsafeLayer`.
    """
    _check_magic(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive.infolist(), path.stat().st_size)
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as e:
        _refuse("FormatMismatch", f"the source is a damaged zip archive ({str(e)[:120]})", "upload the file again")
    except (ValueError, RecursionError) as e:
        _refuse("FormatMismatch", f"config.json of the source isn't JSON ({str(e)[:120]})", "save the model again")
    _check_layers(config)


def _refuse(code: str, message: str, hint: str = "") -> NoReturn:
    raise ConversionError(code, message, final=True, hint=hint)


def _check_magic(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        _refuse("Empty", "the source is empty (0 bytes)", "upload the model file again")
    if head == _HDF5_MAGIC:
        _refuse(
            "FormatForbidden",
            "the source is an .h5 file, which can carry code that runs when it is loaded",
            'load it where you trained it and save it again with model.save("model.keras")',
        )
    if head.startswith(_PICKLE_MAGIC):
        _refuse(
            "FormatForbidden",
            "the source is a Python pickle, which can carry code that runs when it is loaded",
            'save the model with model.save("model.keras")',
        )
    if not head.startswith(b"PK\x03\x04"):
        _refuse(
            "FormatMismatch", f"the source isn't a .keras file: it begins with {head[:4]!r}, not with b'PK\\x03\\x04'"
        )


def _check_members(members: list[zipfile.ZipInfo], packed_bytes: int) -> None:
    names = [m.filename for m in members]
    for member in members:
        _check_place(member)
    if len(members) > _MAX_MEMBERS or len(set(names)) != len(names):
        _refuse("ArchiveUnsafe", f"the source has {len(members)} members, some perhaps twice")
    content = sum(m.file_size for m in members)
    if content > _MAX_CONTENT_BYTES or content > _MAX_RATIO * packed_bytes:
        _refuse("ArchiveUnsafe", f"the source is a zip bomb: {packed_bytes} bytes unpack to {content}")
    if missing := _NEEDED - set(names):
        _refuse("FormatMismatch", f"the source isn't a .keras file: it has no {', '.join(sorted(missing))}")
    if strangers := sorted(n for n in names if n not in _NEEDED and not n.startswith("assets/")):
        _refuse("ArchiveUnsafe", f"the source has a member that no .keras file has: {strangers[0][:80]!r}")
    for member in members:
        if member.filename.endswith(".json") and member.file_size > _MAX_CONFIG_BYTES:
            _refuse(
                "ArchiveUnsafe", f"{member.filename} has {member.file_size} bytes; the limit is {_MAX_CONFIG_BYTES}"
            )


def _check_place(member: zipfile.ZipInfo) -> None:
    name, shown = member.filename, member.filename[:80]
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name:
        _refuse("ArchiveUnsafe", f"the source has a member outside its folder: {shown!r}")
    if stat.S_ISLNK(member.external_attr >> 16):
        _refuse("ArchiveUnsafe", f"the source has a symbolic link: {shown!r}")


def _check_layers(config: Any) -> None:
    """Look at every serialized object of the architecture. Not recursive: depth is the file's choice."""
    if not isinstance(config, dict) or "class_name" not in config:
        _refuse("FormatMismatch", "config.json of the source doesn't describe a model")
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
    if name in _UNSAFE_CLASSES:
        _refuse(
            "UnsafeLayer",
            f"the source's layer{label} is a {name}, which carries code",
            "replace it with built-in Keras layers and save the model again",
        )
    if "class_name" in node and isinstance(module, str) and module.split(".")[0] not in _TRUSTED_MODULES:
        _refuse("UnsafeLayer", f"the source's object{label} comes from {module}.{name}, which isn't part of Keras")
    if isinstance(registered, str) and ">" in registered:
        _refuse(
            "UnsafeLayer",
            f"the source's layer{label} is the custom class {registered!r}, which the converter doesn't know",
            "replace it with built-in Keras layers and save the model again",
        )
