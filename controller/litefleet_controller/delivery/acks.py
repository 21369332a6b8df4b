"""Acknowledgements out: up to where a board's telemetry and log are durable, so that it needn't send them again.

The newest ack a board replaces one that still waits. A lost ack costs one resend, so nothing is tried twice here.
"""

import asyncio

import structlog

from litefleet_controller.delivery.errors import DeliveryError, LinkDownError
from litefleet_controller.delivery.interface import Link
from litefleet_controller.workqueue import WorkQueue
from litefleet_protocol import codec, topics
from litefleet_protocol.messages import Ack

log = structlog.get_logger(__name__)

_WORKERS = 4
_Key = tuple[str, str, str]
"""Device, stream, boot."""


class AckPublisher:
    """Queues acks; `run()` publishes them."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._work: WorkQueue[_Key] = WorkQueue()
        self._acks: dict[_Key, Ack] = {}

    def offer(self, device: str, ack: Ack) -> None:
        """Publish `ack`, in place of an older one of the same stream and boot that waits."""
        key = (device, ack.stream, ack.boot_id)
        self._acks[key] = ack
        self._work.add(key)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for n in range(_WORKERS):
                tasks.create_task(self._work_off(), name=f"ack-{n}")

    async def _work_off(self) -> None:
        while True:
            key = await self._work.get()
            try:
                ack = self._acks.pop(key)
                await self._link.publish(topics.down(key[0], topics.Down.ACK), codec.encode(ack))
            except LinkDownError:
                pass  # the board sends again, and is acknowledged then
            except DeliveryError as e:
                log.warning("ack_refused", device=key[0], error=str(e))
            finally:
                self._work.done(key)
