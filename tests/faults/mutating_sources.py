"""Mutants of what people push: `.keras` files, packed SavedModels, `.npz` data sets. Pure. `.tflite`: see mutating.py.

Half of them are whole archives with a damaged member, as somebody makes them who knows the format: a zip's checksum
catches a flipped bit before anything interesting reads it.
"""

import copy
import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

_ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2, 7, 4097, 2**31, 2**63, 1e308, -0.5, float("nan"), "", "x" * 5000, "../x", [], {}, [[]],
    [None, None], [1, 2, 3, 4, 5, 6, 7, 8, 9], "float16", "int8", "relu", "keras",
)  # fmt: skip
_CLASSES = (
    "Conv2D", "Conv3D", "Dense", "LSTM", "Reshape", "Permute", "Lambda", "Embedding", "BatchNormalization", "Flatten",
    "InputLayer", "Sequential", "Functional", "Concatenate", "Bidirectional", "TimeDistributed", "StringLookup", "Nothing",
)  # fmt: skip
_NAMES = ("../../x", "/etc/x", "C:\\x", "config.json", "assets/../../x", "x" * 300, "assets/a", "variables/../x")
_DTYPES = ("'<f4'", "'|O'", "'<U4'", "'<c8'", "'<f8'", "'|u1'", "'<i8'", "'>f2'", "'<M8[s]'", "[('a', '<f4')]")


def mutant(original: bytes, rng: random.Random) -> tuple[str, bytes]:
    """What was done to an archive, and the changed file, which is never the original."""
    if not zipfile.is_zipfile(io.BytesIO(original)):  # a tar: as bytes only
        change = rng.choice((_flipped, _cut, _spliced))
        return change.__name__.strip("_"), _other(original, change, rng)
    if rng.random() < 0.3:
        original = _packed(_members(original), zipfile.ZIP_DEFLATED)
    while True:
        change = rng.choice(_CHANGES)
        made = change(original, rng)
        if made is not None and made != original:
            return change.__name__.strip("_"), made


def _other(original: bytes, change: Callable[[bytes, random.Random], bytes], rng: random.Random) -> bytes:
    while (made := change(original, rng)) == original:
        pass
    return made


# --- the file as bytes ---


def _flipped(original: bytes, rng: random.Random) -> bytes:
    data = bytearray(original)
    for _ in range(rng.choice((1, 1, 4, 32))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _cut(original: bytes, rng: random.Random) -> bytes:
    return original[: rng.randrange(len(original))]


def _spliced(original: bytes, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(original)), rng.choice((1, 16, 512))
    return original[:at] + rng.choice((b"", rng.randbytes(size), bytes(size))) + original[at + size :]


def _directory(original: bytes, rng: random.Random) -> bytes:
    """A number in the zip's own tables, which are at its end."""
    data = bytearray(original)
    at = rng.randrange(max(0, len(data) - 400), len(data) - 4)
    struct.pack_into(rng.choice(("<H", "<I")), data, at, rng.choice((0, 1, 0xFF, 0xFFFF)))
    return bytes(data)


# --- whole archives ---


def _members(original: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(original)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def _packed(members: Sequence[tuple[str | zipfile.ZipInfo, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a name that is there twice
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def _damaged_member(original: bytes, rng: random.Random) -> bytes:
    members = _members(original)
    at = rng.randrange(len(members))
    name, content = members[at]
    if content:
        members[at] = (name, rng.choice((_flipped, _cut, _spliced, _flipped))(content, rng))
    return _packed(members)


def _other_members(original: bytes, rng: random.Random) -> bytes:
    members: list[tuple[str | zipfile.ZipInfo, bytes]] = list(_members(original))
    at = rng.randrange(len(members))
    way = rng.randrange(6)
    if way == 0:
        del members[at]
    elif way == 1:
        members.append(members[at])
    elif way == 2:
        members[at] = (rng.choice(_NAMES), members[at][1])
    elif way == 3:
        members.append((rng.choice(_NAMES), rng.randbytes(20)))
    elif way == 4:
        link = zipfile.ZipInfo("assets/link")
        link.external_attr = 0o120777 << 16
        members.append((link, b"/etc/passwd"))
    else:
        other = rng.randrange(len(members))
        members[at] = (members[at][0], members[other][1])
    return _packed(members)


def _bomb(original: bytes, rng: random.Random) -> bytes:
    members = _members(original)
    at = rng.randrange(len(members))
    members[at] = (members[at][0], bytes(rng.choice((2**20, 2**24))))
    return _packed(members, zipfile.ZIP_DEFLATED)


def _odd_json(original: bytes, rng: random.Random) -> bytes | None:
    """One to three values of an architecture that its layers don't expect."""
    members = _members(original)
    at = next((i for i, (name, _) in enumerate(members) if name == "config.json"), None)
    if at is None:
        return None
    tree = json.loads(members[at][1])
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change(tree, rng)
    members[at] = ("config.json", json.dumps(tree).encode())
    return _packed(members)


def _change(tree: Any, rng: random.Random) -> None:
    places = [(node, key) for node in _nodes(tree) for key in (node if isinstance(node, dict) else range(len(node)))]
    node, key = rng.choice(places)
    way = rng.randrange(5)
    if way == 0:
        del node[key]
    elif way == 1:
        node[key] = rng.choice(_ODD)
    elif way == 2:
        classes = [n for n in _nodes(tree) if isinstance(n, dict) and "class_name" in n]
        if classes:
            rng.choice(classes)["class_name"] = rng.choice(_CLASSES)
    elif way == 3 and isinstance(node[key], int | float) and not isinstance(node[key], bool):
        node[key] = node[key] * rng.choice((-1, 2, 100, 65_537))
    else:
        donor, at = rng.choice(places)
        node[key] = copy.deepcopy(donor[at]) if donor is not node else rng.choice(_ODD)


def _nodes(tree: Any) -> list[Any]:
    found, pending = [], [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict | list) and node:
            found.append(node)
            pending.extend(node.values() if isinstance(node, dict) else node)
    return found


def _odd_array(original: bytes, rng: random.Random) -> bytes | None:
    """An array of a data set with another header, or with numbers that none should have."""
    members = _members(original)
    arrays = [i for i, (name, _) in enumerate(members) if name.endswith(".npy")]
    if not arrays:
        return None
    at = rng.choice(arrays)
    name, content = members[at]
    length = struct.unpack_from("<H", content, 8)[0]
    header, body = content[10 : 10 + length].decode("latin-1"), content[10 + length :]
    way = rng.randrange(5)
    if way == 0:
        start = header.index("'descr': ") + 9
        header = header[:start] + rng.choice(_DTYPES) + header[header.index(", 'fortran") :]
    elif way == 1:
        shape = rng.choice(
            ("()", "(0,)", "(12,)", "(-1, 8, 8, 1)", "(12, 8, 8, 3)", "(99999999, 8, 8, 1)", "(6, 2, 8, 8, 1)")
        )
        header = header[: header.index("'shape': ") + 9] + shape + ", }"
    elif way == 2:
        header = header.replace("False", "True").replace("{", rng.choice(("{", "{'x': __import__('os'), ", "[")), 1)
    elif way == 3:
        body = rng.choice((b"\xff" * len(body), bytes(len(body)), rng.randbytes(len(body))))
    else:
        body = body[: rng.randrange(len(body) or 1)]
    encoded = (header.rstrip() + "\n").encode("latin-1", "replace")
    members[at] = (name, content[:8] + struct.pack("<H", len(encoded)) + encoded + body)
    return _packed(members)


_CHANGES: tuple[Callable[[bytes, random.Random], bytes | None], ...] = (
    _flipped, _cut, _spliced, _directory, _damaged_member, _damaged_member, _other_members, _bomb, _odd_json, _odd_json,
    _odd_json, _odd_array, _odd_array, _odd_array,
)  # fmt: skip
