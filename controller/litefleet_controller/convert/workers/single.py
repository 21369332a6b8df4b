"""One task in a worker of its own, for a command line that has nothing else to do: no pool, no cache, no blobs.

Called by the command line. The worker's scratch folder is the task's; what is wanted of it must be taken before it
goes.
"""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.workers.limits import WorkerLimits
from litefleet_controller.convert.workers.process import WorkerProcess


@contextlib.asynccontextmanager
async def single_worker(limits: WorkerLimits) -> AsyncIterator[WorkerProcess]:
    """A worker for as long as it is needed. It and its scratch folder are gone afterwards.

    Raises:
        ConversionError: `WorkerCrashed`, when no process can be started.
    """
    try:
        root = tempfile.TemporaryDirectory(prefix="litefleet-", ignore_cleanup_errors=True)
    except OSError as e:
        raise ConversionError("WorkerCrashed", f"no scratch folder can be made: {e.strerror}", final=False) from e
    with root as folder:
        try:
            worker = await WorkerProcess.start(Path(folder), limits)
        except OSError as e:
            raise ConversionError("WorkerCrashed", f"no worker can be started: {e}", final=False) from e
        try:
            yield worker
        finally:
            await worker.close()
