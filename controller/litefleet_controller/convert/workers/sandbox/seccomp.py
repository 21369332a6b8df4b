"""A filter of system calls that computing needs none of: sockets, others' memory, mounts, namespaces, sessions.

It holds where there are no namespaces, too. A call is refused with an error, never with a signal: a library that only
tries goes on. Written out, since libseccomp isn't installed with Python; the form is `linux/filter.h`'s.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from litefleet_controller.convert.workers.sandbox import syscalls

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets in `struct seccomp_data`."""
_X32 = 0x40000000
_CLONE_NEWUSER = 0x10000000

# Beside sockets: io_uring makes them by other ways, ptrace and the like reach into processes of the same user, and
# a process that leaves its group would survive when the group is ended.
_REFUSED = {
    "x86_64": {
        "socket": 41, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_getfd": 438,
        "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "bpf": 321, "perf_event_open": 298,
        "userfaultfd": 323, "add_key": 248, "request_key": 249, "keyctl": 250, "mount": 165, "umount2": 166,
        "pivot_root": 155, "open_tree": 428, "move_mount": 429, "fsopen": 430, "chroot": 161, "unshare": 272,
        "setns": 308, "setsid": 112, "setpgid": 109,
    },
    "aarch64": {
        "socket": 198, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "pidfd_getfd": 438,
        "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "bpf": 280, "perf_event_open": 241,
        "userfaultfd": 282, "add_key": 217, "request_key": 218, "keyctl": 219, "mount": 40, "umount2": 39,
        "pivot_root": 41, "open_tree": 428, "move_mount": 429, "fsopen": 430, "chroot": 51, "unshare": 97,
        "setns": 268, "setsid": 157, "setpgid": 154,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Machine:
    """What is different on each architecture: `linux/audit.h`."""

    audit: int
    clone: int
    clone3: int
    refused: Mapping[str, int]


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 56, 435, _REFUSED["x86_64"]),
    "aarch64": _Machine(0xC00000B7, 220, 435, _REFUSED["aarch64"]),
}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def install() -> bool:
    """Filter this process's calls, and those of all that it starts; whether that was possible.

    `syscalls.gain_no_privileges` comes first.
    """
    machine = _MACHINES.get(os.uname().machine)
    if machine is None:
        return False
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in _instructions(machine))
    buffer = ctypes.create_string_buffer(code, len(code))
    try:
        syscalls.filter_calls(_Program(len(code) // 8, ctypes.addressof(buffer)))
    except OSError:
        return False
    return True


def _instructions(machine: _Machine) -> list[tuple[int, int, int, int]]:
    """Each: operation, how many instructions to skip if true, and if false, operand."""
    refused = _ERRNO | errno.EPERM
    listed = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, machine.audit),
        (_RETURN, 0, 0, refused),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),  # a second table of the same calls on x86-64; nothing lies there elsewhere
        (_RETURN, 0, 0, refused),
    ]
    for number in machine.refused.values():
        listed += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, refused)]
    # Its flags lie in memory, where a filter can't look; the C library takes clone instead when it isn't there.
    listed += [(_EQUAL, 0, 1, machine.clone3), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    listed += [
        (_EQUAL, 0, 3, machine.clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 0, 1, _CLONE_NEWUSER),
        (_RETURN, 0, 0, refused),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return listed
