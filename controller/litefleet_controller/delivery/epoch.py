"""The leader's epoch, signed and retained: devices adopt a higher one and report again.

The epoch itself comes from the lease (the composition root sets it); None means that this process doesn't lead.
"""

import structlog

from litefleet_controller.delivery.errors import LinkDownError, RefusedError
from litefleet_controller.delivery.interface import Link
from litefleet_controller.delivery.latest import Latest, both
from litefleet_protocol import codec, topics
from litefleet_protocol.envelope import PayloadType, Signer, seal
from litefleet_protocol.messages import Epoch

log = structlog.get_logger(__name__)


def epoch_message(fleet: str, epoch: int, signer: Signer) -> bytes:
    """The signed message."""
    return seal(PayloadType.EPOCH, codec.encode(Epoch(fleet=fleet, epoch=epoch)), [signer])


class EpochPublisher:
    """Publishes the epoch at each change of it and at each connection."""

    def __init__(self, link: Link, fleet: str, signer: Signer, epoch: Latest[int | None]) -> None:
        self._link = link
        self._fleet = fleet
        self._signer = signer
        self._epoch = epoch

    async def run(self) -> None:
        """Until cancelled."""
        said: tuple[int, int] | None = None
        async for state, epoch in both(self._link.state, self._epoch):
            if not state.connected or epoch is None or said == (state.generation, epoch):
                continue
            try:
                await self._link.publish(topics.EPOCH, epoch_message(self._fleet, epoch, self._signer), retain=True)
            except LinkDownError:
                continue  # the next connection says it
            except RefusedError as e:
                log.error("epoch_refused", error=str(e))  # noqa: TRY400 - the message says it all
                continue
            said = (state.generation, epoch)
            log.info("epoch_published", epoch=epoch)
