"""Signed control messages: from the broker's bytes to the core's events, on the voucher thread.

Only the latest message of each kind counts, and all that wait are checked in one child. A message that was accepted
before (retained, hence delivered again on every connect) isn't checked again.
"""

import threading
from collections.abc import Callable

from litefleet_agent import events as ev
from litefleet_agent.errors import AgentError
from litefleet_agent.logs import EventLog
from litefleet_agent.verify import Trust
from litefleet_agent.vouching import Opened
from litefleet_agent.workers import Worker
from litefleet_protocol import codec
from litefleet_protocol.envelope import PayloadType
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.messages import Desired, Epoch

log = EventLog(__name__)
EPOCH_JITTER_S = 10.0
"""Spreads the fleet's answers to a new epoch; a broker takes tens of thousands of messages a second."""


class Inbox:
    """Takes envelopes on the main loop; emits `DesiredReceived`, `DesiredRefused`, `EpochReceived`."""

    def __init__(
        self, trust: Trust, worker: Worker, *, emit: Callable[[ev.Event], None], random: Callable[[], float]
    ) -> None:
        self._trust = trust
        self._worker = worker
        self._emit = emit
        self._random = random
        self._lock = threading.Lock()
        self._waiting: dict[PayloadType, bytes] = {}
        self._accepted: dict[PayloadType, tuple[bytes, bytes]] = {}
        """Kind to the last envelope that was believed, and its payload."""

    def put(self, kind: PayloadType, sealed: bytes) -> None:
        """Take in an envelope; an empty one (a cleared topic) says nothing."""
        if not sealed:
            return
        with self._lock:
            self._waiting[kind] = sealed
        self._worker.submit(self._open_waiting)

    def _open_waiting(self) -> None:
        with self._lock:
            waiting, self._waiting = list(self._waiting.items()), {}
        unknown = [(kind, sealed) for kind, sealed in waiting if self._known(kind, sealed) is None]
        try:
            opened = (
                dict(zip([k for k, _ in unknown], self._trust.open_control(unknown), strict=True)) if unknown else {}
            )
        except AgentError as e:
            log.warning("signatures_not_checked", error=e)
            opened = {kind: Opened(code=str(e.code), message=str(e)) for kind, _ in unknown}
        for kind, sealed in waiting:
            self._read(kind, sealed, opened.get(kind))

    def _known(self, kind: PayloadType, sealed: bytes) -> bytes | None:
        known, payload = self._accepted.get(kind, (b"", b""))
        return payload if known == sealed else None

    def _read(self, kind: PayloadType, sealed: bytes, opened: Opened | None) -> None:
        if opened is not None and opened.code:
            self._refuse(kind, opened.code, opened.message)
            return
        payload = opened.payload if opened is not None else self._known(kind, sealed) or b""
        try:
            if kind is PayloadType.EPOCH:
                epoch = codec.decode(Epoch, payload)
                self._emit(ev.EpochReceived(epoch.fleet, epoch.epoch, self._random() * EPOCH_JITTER_S))
            else:
                self._emit(ev.DesiredReceived(codec.decode(Desired, payload)))
        except ProtocolError as e:
            self._refuse(kind, str(e.code), str(e))
            return
        self._accepted[kind] = (sealed, payload)

    def _refuse(self, kind: PayloadType, code: str, message: str) -> None:
        log.warning("message_refused", kind=kind.name.lower(), code=code, message=message)
        if kind is PayloadType.DESIRED:
            self._emit(ev.DesiredRefused(code, message))
