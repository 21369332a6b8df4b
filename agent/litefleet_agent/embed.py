"""The agent inside a person's own program: the same slots, swapped under running inferences.

with Agent.open("/var/lib/litefleet") as agent:
    answer = agent.slot("digits").infer(array)
"""

import threading
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from litefleet_agent import compose, config
from litefleet_agent.agent import Agent as Loop
from litefleet_agent.journal import Journal
from litefleet_agent.journaling import journaling
from litefleet_agent.swap import Answer, HotSlot
from litefleet_protocol.names import check_name

__all__ = ["Agent", "Answer", "Slot"]


class Slot:
    """One model's place on this board."""

    def __init__(self, hot: HotSlot) -> None:
        self._hot = hot

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until a model serves; False when none does by then."""
        return self._hot.wait_ready(timeout_s)

    def infer(self, value: NDArray[Any]) -> Answer:
        """Answer one input: an image (height, width[, channels]) or an array with as many values as the model takes.

        Raises:
            NoModelError: no model serves yet.
            ModelError: the input doesn't fit, or the model failed on it.
        """
        return self._hot.infer(value)


class Agent:
    """A running agent, until `close` or the end of its `with` block."""

    def __init__(self, loop: Loop, journal: Journal | None = None) -> None:
        """`journal`: where what is said from now on is kept."""
        self._loop = loop
        self._ends = ExitStack()
        if journal is not None:
            self._ends.enter_context(journaling(journal))
        self._thread = threading.Thread(target=loop.run, name="agent", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, state_dir: str | Path, config_file: str | Path | None = None) -> Self:
        """Start the agent whose identity lies under `state_dir`.

        Raises:
            AgentError: not enrolled, a bad configuration, or another agent runs on this directory.
        """
        settings = config.load(Path(config_file) if config_file is not None else None)
        journal = compose.open_journal(Path(state_dir))
        return cls(compose.compose(Path(state_dir), settings, journal=journal), journal)

    def slot(self, name: str) -> Slot:
        """The slot of a Model, whether it serves already or not.

        Raises:
            ProtocolError: `InvalidName`.
        """
        return Slot(self._loop.place(check_name(name, "slot")).hot)

    def close(self) -> None:
        """Stop the agent."""
        self._loop.stop()
        self._thread.join(10.0)
        self._ends.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()
