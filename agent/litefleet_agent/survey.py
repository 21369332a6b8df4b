"""Finding out, once the board is connected, what its engines really are and run on: for the report.

On a thread of its own, which ends with that: nothing of it may delay a start, a swap or a signature, and the machinery
for child processes isn't imported before. Until then a report names what is installed.
"""

import threading
from collections.abc import Callable, Mapping

from msgspec import structs

from litefleet_agent.logs import EventLog
from litefleet_agent.runtime.installed import ENGINES, is_installed
from litefleet_protocol.codes import Code
from litefleet_protocol.messages import EngineFound

log = EventLog(__name__)


class Survey:
    """Probes every installed engine, once."""

    def __init__(self, done: Callable[[], None]) -> None:
        """`done` is called on the survey's thread."""
        self._found: tuple[EngineFound, ...] = ()
        self._done = done
        self._started = False

    @property
    def found(self) -> tuple[EngineFound, ...]:
        """What is there; empty until everything was tried."""
        return self._found

    def working(self, installed: Mapping[str, str]) -> dict[str, str]:
        """`installed` (engine to release) without what turned out not to load, and with what came without metadata."""
        loaded = {engine.name: engine.version for engine in self._found if not engine.code}
        broken = {engine.name for engine in self._found if engine.code}
        return {name: release for name, release in {**loaded, **installed}.items() if name not in broken}

    def start(self, *, leave_closed: bool) -> None:
        """Begin, when called for the first time. `leave_closed`: what one process at a time may open (`exclusive`)."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, args=(leave_closed,), name="survey", daemon=True).start()

    def _run(self, leave_closed: bool) -> None:
        from litefleet_agent.probing import probe

        try:
            self._found = tuple(
                present(probe(name, leave_closed=leave_closed)) for name in ENGINES if is_installed(name)
            )
        except Exception:  # the thread's edge: a board that can't tell what it has works all the same
            log.exception("engines_not_probed")
            return
        log.info("engines_probed", **{engine.name: engine.code or engine.version for engine in self._found})
        self._done()


def present(engine: EngineFound) -> EngineFound:
    """Only what is there: an accelerator that most boards don't have is no news in each of their reports."""
    there = tuple(a for a in engine.accelerators if a.code != Code.ACCELERATOR_MISSING)
    return structs.replace(engine, accelerators=there)
