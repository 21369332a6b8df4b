"""Nothing is written but below one folder, and no process outside is signalled: Linux's Landlock, from 5.13 on.

The constants are `linux/landlock.h`'s. Reading stays as it was: libraries read where they like.
"""

import ctypes
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from litefleet_controller.convert.workers.sandbox import syscalls

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_BENEATH = 1

_WRITE_FILE = 1 << 1
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE = sum(1 << bit for bit in range(6, 13))
_REFER = 1 << 13
"""Version 2."""
_TRUNCATE = 1 << 14
"""Version 3."""
_SCOPES = 1 << 0 | 1 << 1
"""Abstract sockets and signals; version 6."""
_FILE_RIGHTS = _WRITE_FILE | _TRUNCATE


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def confine(writable: Iterable[Path]) -> bool:
    """Let this process write below these folders, or these files, and nowhere else; whether the kernel can do that.

    `syscalls.gain_no_privileges` comes first.
    """
    try:
        version = syscalls.call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
        _restrict(version, writable)
    except OSError:
        return False
    return True


def _restrict(version: int, writable: Iterable[Path]) -> None:
    rights = _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE
    rights |= (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    ruleset = _Ruleset(rights, 0, _SCOPES if version >= 6 else 0)
    size = ctypes.sizeof(_Ruleset) if version >= 6 else ctypes.sizeof(ctypes.c_uint64)
    rules = syscalls.call(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for path in writable:
            with suppress(FileNotFoundError):
                _allow(rules, path, rights)
        syscalls.call(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))
    finally:
        os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _Beneath(rights if path.is_dir() else rights & _FILE_RIGHTS, parent)
        syscalls.call(_ADD_RULE, ctypes.c_int(rules), ctypes.c_int(_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(parent)
