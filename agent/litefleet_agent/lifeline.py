"""A child process must not outlive the agent that wanted it. Used by `check` and `probe`."""

import ctypes
import signal


def die_with_parent() -> None:
    """Ask Linux to kill this process when the thread that started it ends, however it ends: nobody else would."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
