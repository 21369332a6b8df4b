"""A packed SavedModel before TensorFlow sees it: unpacked with limits, its operators and objects looked through.

A SavedModel is a zip of the folder that `model.export` writes: `saved_model.pb` and `variables/`. Loading one runs
code of its choosing in two ways, and neither is let happen: operators that reach out of the graph (graphops.py), and
objects with functions of their own for making or restoring them (lookup tables, custom savers). Runs in workers,
without tensorflow, so that a bad file is answered in a fraction of a second.
"""

import errno
import re
import shutil
import zipfile
from pathlib import Path

from litefleet_controller.convert.archive import DAMAGED, ZIP_MAGIC, Contents, check_head, check_members, refuse
from litefleet_controller.convert.opening.graphops import COMPUTING, SAVER, unsafe
from litefleet_controller.convert.opening.wire import WireError, fields, walk

DEFAULT_SIGNATURE = "serving_default"

_MEMBER = re.compile(
    r"(saved_model\.pb|fingerprint\.pb|keras_metadata\.pb|variables/?|variables/variables\.(index|data-\d+-of-\d+)"
    r"|assets(\.extra)?/.*|debug/.*)"
)
_CONTENTS = Contents("SavedModel", frozenset({"saved_model.pb"}), lambda name: _MEMBER.fullmatch(name) is not None)
_HINT = "push the folder that model.export(FOLDER) wrote, with 'litefleet model push FOLDER'"

# Numbers of fields in tensorflow/core/protobuf/{saved_model,meta_graph,saved_object_graph}.proto and
# tensorflow/core/framework/{graph,function,node_def}.proto.
_META_GRAPHS = 2
_GRAPH_NODE_OP = (2, 1, 2)
_FUNCTION_NODE_OP = (2, 2, 1, 3, 2)
_FUNCTION_ATTRIBUTE = (2, 2, 1, 5)
_ATTRIBUTE_TEXT, _ATTRIBUTE_FUNCTION = (2, 2), (2, 10, 1)
_IMPLEMENTS = "_implements"
_DETECTIONS = "TFLite_Detection_PostProcess"
_UNPLACEABLE = frozenset({errno.EINVAL, errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR})
_SIGNATURES = 5
_OBJECTS = (7, 1)
_RESOURCE, _SAVEABLES, _SAVER_NAME = 10, 11, 16


def unpack(source: Path, folder: Path) -> Path:
    """The packed SavedModel at `source` as a folder of plain files under `folder`.

    Raises:
        ConversionError: final; `Empty`, `FormatForbidden`, `FormatMismatch` or `ArchiveUnsafe`.
    """
    check_head(source, ZIP_MAGIC, "a packed SavedModel", _HINT)
    target = folder / "saved-model"
    try:
        with zipfile.ZipFile(source) as archive:
            check_members(archive.infolist(), source.stat().st_size, _CONTENTS)
            for member in archive.infolist():
                if not member.is_dir():
                    _unpack(archive, member, target / member.filename)
    except DAMAGED as e:
        refuse("FormatMismatch", f"the source is a damaged zip archive ({str(e)[:120]})", _HINT)
    except OSError as e:
        # Places that no file has, names that no folder takes; a full disk is nobody's model's fault.
        if e.errno not in _UNPLACEABLE:
            raise
        refuse("FormatMismatch", f"the source is a damaged zip archive ({str(e)[:120]})", _HINT)
    return target


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not more than the directory of the archive says, and that was summed up: zipfile stops there.
    with archive.open(member) as packed, target.open("xb") as plain:
        shutil.copyfileobj(packed, plain)


def check_graph(folder: Path, wanted: str | None = None) -> str:
    """Refuse a SavedModel that isn't only a computation; the signature to convert: `wanted`, if that is there.

    Raises:
        ConversionError: final; `FormatMismatch`, `FormatUnsupported`, `UnsafeOp`, `UnsupportedOp` or
            `SignatureMissing`.
    """
    data = memoryview((folder / "saved_model.pb").read_bytes())
    try:
        graphs = list(walk(data, _META_GRAPHS))
        # With several graphs, or without objects, TensorFlow would run the graph's own operators to restore it.
        if len(graphs) != 1 or not any(True for _ in walk(graphs[0], *_OBJECTS)):
            refuse(
                "FormatUnsupported",
                f"the source is no SavedModel of TensorFlow 2: it has {len(graphs)} graphs, not one with objects",
                "load it where you trained it and save it again with TensorFlow 2",
            )
        (graph,) = graphs
        _check_operators(graph)
        _check_stand_ins(graph)
        _check_objects(graph)
        names = [_text(name) for name in walk(graph, _SIGNATURES, 1)]
    except WireError as e:
        refuse("FormatMismatch", f"saved_model.pb of the source is damaged ({e})", _HINT)
    return _signature(names, wanted)


def _check_operators(graph: memoryview) -> None:
    found = {_text(op) for path in (_GRAPH_NODE_OP, _FUNCTION_NODE_OP) for op in walk(graph, *path)}
    strange = sorted(found - COMPUTING - SAVER)
    for op in strange:
        if unsafe(op):
            refuse(
                "UnsafeOp",
                f"the source's graph has the operator {_shown(op)}, which reaches out of the graph",
                "export the model alone: reading, decoding and looking up belong before it",
            )
    if strange:
        refuse(
            "UnsupportedOp",
            f"the source's graph has the operator {_shown(strange[0])}, which isn't one that the converter runs",
            "replace the layer it comes from with one that LiteRT supports",
        )


def _check_stand_ins(graph: memoryview) -> None:
    """Refuse a detector whose last function only stands for LiteRT's operator: in TensorFlow it answers zeros."""
    for attribute in walk(graph, *_FUNCTION_ATTRIBUTE):
        keys = [_text(key) for key in walk(attribute, 1)]
        said = [_text(name) for path in (_ATTRIBUTE_TEXT, _ATTRIBUTE_FUNCTION) for name in walk(attribute, *path)]
        if _IMPLEMENTS in keys and any(_DETECTIONS in name for name in said):
            refuse(
                "UnsupportedOp",
                f"the source has a function in place of {_DETECTIONS}, which TensorFlow can't compute",
                "convert it with TFLiteConverter.from_saved_model and allow_custom_ops=True, and push the .tflite file",
            )


def _check_objects(graph: memoryview) -> None:
    for node in walk(graph, *_OBJECTS):
        kinds = {number for number, _ in fields(node)}
        if kinds & {_RESOURCE, _SAVEABLES, _SAVER_NAME}:
            refuse(
                "UnsafeOp",
                "the source has an object that runs functions of its own when it is loaded, such as a lookup table",
                "export the model alone: reading, decoding and looking up belong before it",
            )


def _signature(names: list[str], wanted: str | None) -> str:
    callable_ = sorted(n for n in names if not n.startswith("__"))
    name = wanted or DEFAULT_SIGNATURE
    if wanted is None and name not in callable_ and len(callable_) == 1:
        (name,) = callable_
    if name not in callable_:
        there = f"it has {', '.join(map(repr, callable_))}"[:200] if callable_ else "it has none"
        refuse(
            "SignatureMissing",
            f"the source has no signature {name[:60]!r}, and {there}",
            "name one of them in spec.source.signature"
            if callable_
            else "save it with signatures={'serving_default': FUNCTION}, or with model.export",
        )
    return name


def _shown(name: str) -> str:
    """A name that somebody else chose, on one line."""
    return name[:60] if name.isprintable() else repr(name[:60])


def _text(data: memoryview) -> str:
    return bytes(data).decode(errors="replace")
