"""The heap: threads share one, and what was freed goes back to the system."""

import subprocess
import sys

import pytest

_ADDRESSES = """
import ctypes, threading
from litefleet_agent import heap
if {shared}: heap.one_arena()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
found = []
def ask(): found.append(libc.malloc(1000) >> 26)
ask()
thread = threading.Thread(target=ask); thread.start(); thread.join()
print(len(set(found)))
"""
_FREED = """
import ctypes
from litefleet_agent import health, heap
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [libc.malloc(100_000) for _ in range(300)]
for block in blocks: ctypes.memset(block, 1, 100_000)
for block in blocks[:-1]: libc.free(block)
before = health.rss_bytes()
heap.give_back()
print(before - health.rss_bytes())
"""


def ran(code: str) -> int:
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's heap")
def test_threads_share_one_heap_once_told_to():
    assert ran(_ADDRESSES.format(shared=False)) == 2
    assert ran(_ADDRESSES.format(shared=True)) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's heap")
def test_what_was_freed_goes_back_although_something_after_it_stays():
    assert ran(_FREED) > 20_000_000
