"""A named thread that does one job after the other, so that the main loop never waits for a child or a model."""

import queue
import threading
from collections.abc import Callable

from litefleet_agent.logs import EventLog

log = EventLog(__name__)


class Worker:
    """Runs jobs in the order in which they were given."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Add a job; it must turn its own failures into events."""
        self._jobs.put(job)

    def stop(self) -> None:
        """End after the job that is under way; doesn't wait for it."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:  # the thread's edge: one bad job must not end the others
                log.exception("job_failed", worker=self._thread.name)
