"""What the command line's verbs do, and how they end: one line on stderr and exit code 1 when something is wrong."""

import argparse
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from typing import TextIO

import msgspec

from litefleet_agent import identity
from litefleet_agent.errors import AgentError, one_line
from litefleet_agent.fileio import Disk
from litefleet_agent.logs import EventLog
from litefleet_agent.state import Pointers
from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError

log = EventLog(__name__)


def run(given: argparse.Namespace) -> int:
    """Do what the arguments say; the exit code."""
    verbs: dict[str, Callable[[argparse.Namespace], int | None]] = {
        "enroll": _enroll,
        "run": _run,
        "status": _status,
        "doctor": _doctor,
    }
    try:
        return verbs[given.command](given) or 0
    except (AgentError, ProtocolError) as e:
        _say(f"litefleet-agent: {one_line(e)}", sys.stderr)
        return 1
    except OSError as e:
        _say(f"litefleet-agent: {e}", sys.stderr)
        return 1


def _say(line: str, stream: TextIO | None = None) -> None:
    print(line, file=stream or sys.stdout)


def _enroll(given: argparse.Namespace) -> None:
    from litefleet_agent.enroll import Joining, enroll
    from litefleet_agent.journal import DIRECTORY, Journal
    from litefleet_agent.journaling import journaling

    disk = Disk()
    disk.make_directory(given.state_dir)
    joining = Joining(given.token, given.name, given.device_class, _labels(given.label), given.force)
    answer = enroll(disk, given.state_dir, joining)
    with journaling(Journal(disk, given.state_dir / DIRECTORY, secrets.token_hex(8))):
        log.info("enrolled", device=answer.device, namespace=answer.namespace, fleet=answer.fleet, forced=given.force)
    _say(f"enrolled {answer.device} in {answer.namespace} of fleet {answer.fleet}")


def _labels(given: list[str]) -> dict[str, str]:
    labels = {}
    for pair in given:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise AgentError(Code.INVALID_NAME, f"{pair!r} is not KEY=VALUE", field="--label")
        labels[key] = value
    return labels


def _run(given: argparse.Namespace) -> None:
    logging.basicConfig(
        level=given.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    from litefleet_agent import config, heap

    heap.one_arena()
    # numpy's BLAS starts a thread for each core when it is imported; nothing here multiplies matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    settings = config.load(given.config)
    identity.load(Disk(), given.state_dir)
    from litefleet_agent.compose import compose, open_journal
    from litefleet_agent.journaling import journaling

    journal = open_journal(given.state_dir)
    with journaling(journal):
        agent = compose(given.state_dir, settings, journal=journal)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: agent.stop())
        ended = agent.run()
        log.info("stopped", hung=not ended)
    if not ended:
        logging.shutdown()
        os._exit(0)  # a thread hangs in native code: an ordinary exit would tear down what it still uses


def _status(given: argparse.Namespace) -> None:
    disk = Disk()
    who = identity.load(disk, given.state_dir)
    remembered = Pointers(disk, given.state_dir).load()
    if given.json:
        whole = {
            "device": who.device,
            "namespace": who.namespace,
            "fleet": who.fleet,
            "class": who.device_class,
            "remembered": remembered,
            "lastReport": _report(disk.read(given.state_dir / "reported.json")),
        }
        _say(msgspec.json.format(msgspec.json.encode(whole), indent=2).decode())
        return
    _say(f"{who.device} ({who.device_class}), namespace {who.namespace}, fleet {who.fleet}")
    _say(f"follows epoch {remembered.epoch}, counter {remembered.counter}")
    for name, slot in sorted(remembered.slots.items()):
        current = f"{slot.current.version} {_short(slot.current.digest)}" if slot.current else "nothing"
        wanted = f"{slot.desired.version} {_short(slot.desired.artifact)}" if slot.desired else "nothing"
        bad = f"; bad: {', '.join(f'{_short(d)} ({c})' for d, c in slot.bad.items())}" if slot.bad else ""
        _say(f"  {name}: serves {current}, desired {wanted}{bad}")


def _report(kept: bytes | None) -> object:
    """The last report; None when there is none, or a power cut tore it: it is kept without waiting for the disk."""
    try:
        return msgspec.json.decode(kept or b"null")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _doctor(given: argparse.Namespace) -> int:
    from litefleet_agent.doctor.examine import examine

    findings = examine(given.state_dir, given.config, wall=time.time())
    failed = any(f.status == "fail" for f in findings)
    if given.json:
        _say(msgspec.json.format(msgspec.json.encode({"ok": not failed, "findings": findings}), indent=2).decode())
    else:
        for finding in findings:
            _say(finding.line())
    return int(failed)


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
