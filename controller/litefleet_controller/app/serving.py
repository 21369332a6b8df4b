"""Builds every part, runs them, and ends them in order. Who wants to know what talks to what begins here."""

import asyncio
import secrets
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from litefleet_controller.api.server import ServerError
from litefleet_controller.app.delivery import delivery, settle_policy
from litefleet_controller.app.doors import make_server, open_doors
from litefleet_controller.app.leading import follow_higher_epochs, lead_epoch
from litefleet_controller.app.persistence import forget_old_telemetry, persistence
from litefleet_controller.app.settings import Settings, StartError, utc_now
from litefleet_controller.artifacts.interface import Blobs
from litefleet_controller.convert.interface import Converter
from litefleet_controller.convert.local import LocalConverter
from litefleet_controller.delivery.broker_program import BrokerError
from litefleet_controller.identity.authority import Authority
from litefleet_controller.identity.errors import AuthorityError
from litefleet_controller.reconcile.leadership import Leadership
from litefleet_controller.sources.fetcher import BlobFetcher
from litefleet_controller.store.errors import StoreError
from litefleet_controller.store.holders import holder_name

log = structlog.get_logger()

MakeConverter = Callable[[Blobs, Path], Converter]
"""Makes a converter that reads and writes these blobs and may keep files of its own in this folder."""


async def serve(
    settings: Settings, ready: Callable[[str, Path], None], *, make_converter: MakeConverter | None = None
) -> None:
    """Run until SIGTERM or SIGINT. `ready` is told the URL and the kubeconfig once requests are answered.

    Raises:
        StartError: something that it needs isn't there, or is taken.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with AsyncExitStack() as stack:
            await _run(settings, stack, stop, ready, make_converter or _contained(settings))
    except (AuthorityError, BrokerError, ServerError, StoreError, OSError, ssl.SSLError) as e:
        raise StartError(str(e), type(e).__name__.removesuffix("Error")) from e
    log.info("stopped")


def _contained(settings: Settings) -> MakeConverter:
    """Workers that see nothing of the keys, the database, the tokens and the blobs that lie beside them."""
    return partial(LocalConverter, private=settings.data_dir.resolve())


async def _run(
    settings: Settings,
    stack: AsyncExitStack,
    stop: asyncio.Event,
    ready: Callable[[str, Path], None],
    make_converter: MakeConverter,
) -> None:
    replica = f"controller-{secrets.token_hex(4)}"
    authority = Authority.open(settings.data_dir / "identity")
    keep = await stack.enter_async_context(persistence(settings, authority))
    deliver = await stack.enter_async_context(delivery(settings, authority, keep, replica))
    converter = make_converter(keep.blobs, settings.data_dir / "convert")
    stack.push_async_callback(converter.close)

    fetcher = BlobFetcher(keep.blobs, settings.data_dir / "sources", settings.sources)

    async def lead(epoch: int) -> None:
        await lead_epoch(epoch, keep, deliver, converter, fetcher)

    leadership = Leadership(keep.leases, holder_name(replica), utc_now, lead)
    # Before the tasks: a port that is taken is this function's own error, not one of a group.
    server = await make_server(settings, authority, keep, deliver)
    stack.push_async_callback(server.stop)
    url, path = await open_doors(settings, server, authority, keep)
    async with _tasks() as start:
        for task in (
            deliver.ingest.run(),
            deliver.directory.run(),
            deliver.reported.run(),
            deliver.telemetry.run(),
            deliver.logs.run(),
            deliver.acks.run(),
            deliver.need.run(),
            deliver.desired.run(),
            deliver.epochs.run(),
            settle_policy(deliver),
            follow_higher_epochs(deliver, leadership),
            forget_old_telemetry(keep.database),
            leadership.run(),
            server.wait(),
        ):
            start(task)
        ready(url, path)
        log.info("ready", url=url, broker=deliver.broker, fleet=authority.fleet)
        await stop.wait()
        log.info("stopping")
        await server.stop()


@asynccontextmanager
async def _tasks() -> AsyncIterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """A group whose tasks end with the block. One that fails ends the program: a restart is simpler than half of it."""
    async with asyncio.TaskGroup() as group:
        running: list[asyncio.Task[None]] = []
        yield lambda work: running.append(group.create_task(work, name=getattr(work, "__qualname__", None)))
        for task in running:
            task.cancel()
