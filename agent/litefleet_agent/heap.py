"""Keeps the heap small where the C library is glibc: a board's memory is worth more than a lock that nobody waits for.

Called by the command line at the start and by the main loop when a model has been let go.
"""

import ctypes

_M_ARENA_MAX = -8


def one_arena() -> None:
    """Let all threads share one heap. By default each gets its own, and what one has freed no other uses: 5 MiB."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Return what is free to the system; a model's arena lies between things that stay."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
