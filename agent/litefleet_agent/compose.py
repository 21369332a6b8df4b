"""Builds an agent out of its parts; the only place that knows them all. Called by `main` and `embed`."""

import queue
import random
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct, structs

from litefleet_agent import events as ev
from litefleet_agent import health, identity
from litefleet_agent.agent import Agent, Item, Parts, Place
from litefleet_agent.board import RetryPolicy, Self, restored
from litefleet_agent.config import Config, FileSink, PipelineConfig
from litefleet_agent.errors import AgentError
from litefleet_agent.fetch import Fetcher
from litefleet_agent.fileio import Disk
from litefleet_agent.inbox import Inbox
from litefleet_agent.interface import Incoming, Link
from litefleet_agent.journal import DIRECTORY as JOURNAL
from litefleet_agent.journal import Journal
from litefleet_agent.link import Address, MqttLink, tls_context
from litefleet_agent.logsender import LogSender
from litefleet_agent.outbox import Outbox
from litefleet_agent.pipeline import sink, source
from litefleet_agent.pipeline.loop import Pipeline, Tally
from litefleet_agent.runtime.engines import runtime
from litefleet_agent.runtime.installed import check_installed, versions
from litefleet_agent.slots import Slots
from litefleet_agent.state import Pointers
from litefleet_agent.survey import Survey
from litefleet_agent.swap import Builder, HotSlot
from litefleet_agent.telemetry import Meter
from litefleet_agent.uplink import Board, Uplink
from litefleet_agent.verdict import TrialLimits
from litefleet_agent.verify import Trust
from litefleet_agent.workers import Worker
from litefleet_protocol.codes import Code
from litefleet_protocol.messages import Capabilities

LAST_REPORT = "reported.json"


class _Host(Struct, frozen=True):
    """What the parts need of the machine."""

    disk: Disk
    state_dir: Path
    config: Config


MakeLink = Callable[[identity.Identity, Callable[[Incoming | ev.Connected | ev.Disconnected], None]], Link]
"""From who the board is, and where what comes in is delivered."""


def mqtt_link(who: identity.Identity, deliver: Callable[[Incoming | ev.Connected | ev.Disconnected], None]) -> MqttLink:
    """The connection to the broker that enrollment named."""
    return MqttLink(
        Address(who.broker_host, who.broker_port, who.device),
        lambda: tls_context(who, check_time=health.clock_trusted(time.time())),
        deliver=deliver,
        random=random.random,
        new_id=lambda: secrets.token_hex(8),
    )


def open_journal(state_dir: Path) -> Journal:
    """This boot's journal; nothing is written before something is said."""
    return Journal(Disk(), state_dir / JOURNAL, secrets.token_hex(8))


def compose(state_dir: Path, config: Config, make_link: MakeLink = mqtt_link, journal: Journal | None = None) -> Agent:
    """An agent for the identity under `state_dir`, not yet running; it sends what is in `journal`.

    Raises:
        AgentError: not enrolled, or another agent runs on this directory.
    """
    disk = Disk()
    who = identity.load(disk, state_dir)
    lock = disk.lock(state_dir / "lock")
    if lock is None:
        raise AgentError(
            Code.INTERNAL, f"another agent runs on {state_dir}", hint="give each agent its own --state-dir"
        )
    host = _Host(disk, state_dir, config)
    me = Self(who.fleet, who.namespace, who.device, who.device_class)
    mailbox: queue.SimpleQueue[Item] = queue.SimpleQueue()
    slots = Slots(disk, state_dir)
    pointers = Pointers(disk, state_dir)
    trust = Trust(who.signing_keys)
    voucher = Worker("voucher")
    survey = Survey(lambda: mailbox.put(ev.EnginesProbed()))
    link = make_link(who, mailbox.put)
    return Agent(
        Parts(
            me=me,
            state=restored(me, pointers.load(), RetryPolicy()),
            slots=slots,
            pointers=pointers,
            link=link,
            fetcher=Fetcher(
                slots,
                link,
                device=me.device,
                namespace=me.namespace,
                emit=mailbox.put,
                random=random.random,
                fits=lambda manifest: check_installed(manifest.runtime),
            ),
            inbox=Inbox(trust, voucher, emit=mailbox.put, random=random.random),
            uplink=_uplink(host, link, me.device, journal or open_journal(state_dir), survey),
            survey=survey,
            trust=trust,
            builder=Builder(slots, runtime, _trial(config)),
            builder_worker=Worker("builder"),
            voucher_worker=voucher,
            make_place=lambda slot: _place(slot, config),
            pipelines={slot: _pipeline(host, part) for slot, part in config.pipelines.items()},
            mailbox=mailbox,
            unlock=lambda: disk.unlock(lock),
        )
    )


def _uplink(host: _Host, link: Link, device: str, journal: Journal, survey: Survey) -> Uplink:
    board = Board(
        device,
        _capabilities(host, survey),
        lambda report: host.disk.replace(host.state_dir / LAST_REPORT, report, durable=False),
        time.time,
    )
    outbox = Outbox(host.disk, host.state_dir / "outbox", journal.boot_id)
    logs = LogSender(journal, link, host.disk, host.state_dir / JOURNAL, device)
    return Uplink(board, link, outbox, logs, window_s=host.config.telemetry.window_seconds)


def _capabilities(host: _Host, survey: Survey) -> Callable[[], Capabilities]:
    fixed, installed = health.capabilities(None), versions()
    return lambda: structs.replace(
        fixed,
        runtimes=survey.working(installed),
        engines=survey.found,
        disk_free_bytes=host.disk.free_bytes(host.state_dir),
    )


def _trial(config: Config) -> TrialLimits:
    limits, how = config.limits, config.runtime
    return TrialLimits(
        limits.check_seconds, limits.check_memory_bytes, how.threads, how.accelerator, hang_seconds=limits.hang_seconds
    )


def _place(slot: str, config: Config) -> Place:
    meter = Meter(slot, time.monotonic, time.time)
    hot = HotSlot(slot, time.monotonic, hang_s=config.limits.hang_seconds)
    hot.observe([meter])
    return Place(hot, meter)


def _pipeline(host: _Host, part: PipelineConfig) -> Callable[[Place], Pipeline]:
    def make(place: Place) -> Pipeline:
        answers = sink.FileSink(host.disk, Path(part.sink.path)) if isinstance(part.sink, FileSink) else sink.NullSink()
        return Pipeline(
            place.hot,
            source.DirectorySource(Path(part.source.path), loop=part.source.loop),
            answers,
            rate_hz=part.source.rate_hz,
            clock=time.monotonic,
            wall=time.time,
            tally=Tally(
                input_failed=lambda: place.meter.input_failed(place.hot.live),
                missed=lambda inputs: place.meter.missed(place.hot.live, inputs),
            ),
        )

    return make
