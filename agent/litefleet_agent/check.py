"""Trying a model out, in a process that may die of it: `python -m litefleet_agent.check`.

A malformed model can segfault its engine, never return, or eat the memory, with its golden samples or with the first
live input that it doesn't like; so it is loaded here first, under limits. It must have the manifest's signature and
answer its golden samples as it did when it was converted. Then the agent has it answer live inputs for its probation.

What crosses the channel (a socket that keeps messages apart): first one JSON `Verdict`. After a good one, `RUN` for
each input that the agent has put into the shared memory (`exchange`), answered by `DONE` and how long it took once the
outputs are there, or by a `Verdict` that says why they aren't. Whoever gets no answer (`trial`) reads the exit code.
Signatures are checked elsewhere.
"""

import argparse
import base64
import contextlib
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from litefleet_agent.fileio import Disk
from litefleet_agent.lifeline import die_with_parent
from litefleet_agent.slots import ArtifactFolder
from litefleet_agent.verdict import DONE, TOOK, Verdict
from litefleet_protocol import codec, envelope
from litefleet_protocol.codes import Code
from litefleet_protocol.limits import MAX_MANIFEST_BYTES
from litefleet_protocol.messages import ArtifactManifest

if TYPE_CHECKING:
    from litefleet_agent.exchange import Exchange
    from litefleet_agent.runtime.interface import EngineModel

_MAX_STDERR_BYTES = 1024**2


def main() -> None:
    """Set the limits, check, say the verdict, and serve as long as the agent wants."""
    parser = argparse.ArgumentParser(prog="python -m litefleet_agent.check")
    parser.add_argument("directory", type=Path, help="an artifact's folder")
    parser.add_argument("--channel-fd", type=int, required=True, help="a sequenced-packet socket")
    parser.add_argument("--memory-fd", type=int, required=True, help="memory of the size of the signature's tensors")
    parser.add_argument("--memory-bytes", type=int, default=0, help="limit of address space; 0 for none")
    parser.add_argument("--cpu-seconds", type=int, default=0, help="limit of the check's processor time; 0 for none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--accelerator", default="", help="what the engine computes on; the processor when not given")
    arguments = parser.parse_args()
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, _MAX_STDERR_BYTES)
    if arguments.memory_bytes:
        _limit(resource.RLIMIT_AS, arguments.memory_bytes)
    if arguments.cpu_seconds:
        _limit(resource.RLIMIT_CPU, arguments.cpu_seconds)
    with socket.socket(fileno=arguments.channel_fd) as channel:
        try:
            verdict, model = _check(arguments.directory, arguments.threads, arguments.accelerator)
        except MemoryError:
            verdict, model = Verdict(str(Code.MEMORY_LIMIT), f"needs more than {arguments.memory_bytes} bytes"), None
        channel.send(msgspec.json.encode(verdict))
        if model is not None:
            _lift_cpu_limit()
            _serve(model, channel, arguments.memory_fd)


def _limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    if hard == resource.RLIM_INFINITY or value <= hard:
        resource.setrlimit(what, (value, hard))


def _lift_cpu_limit() -> None:
    """A probation is as long as it is; what hangs in it is noticed by the agent."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))


def _check(directory: Path, threads: int, accelerator: str) -> tuple[Verdict, "EngineModel | None"]:
    # Imported under the limits, and only here: they are most of what this process costs.
    from litefleet_agent.proving import prove
    from litefleet_agent.runtime.engines import runtime

    folder = ArtifactFolder(Disk(), directory)
    manifest = _manifest(folder.sealed_manifest() or b"")
    return prove(folder, manifest, runtime, threads=threads, accelerator=accelerator)


def _manifest(sealed: bytes) -> ArtifactManifest:
    payload = base64.b64decode(envelope.parse(sealed, max_bytes=MAX_MANIFEST_BYTES).payload)
    return codec.decode(ArtifactManifest, payload, max_bytes=MAX_MANIFEST_BYTES)


def _serve(model: "EngineModel", channel: socket.socket, memory: int) -> None:
    """Until the agent closes its end."""
    from litefleet_agent.exchange import open_exchange

    exchange = open_exchange(memory, model.signature)
    with contextlib.suppress(ConnectionError):
        while channel.recv(1):
            channel.send(_answer(model, exchange))


def _answer(model: "EngineModel", exchange: "Exchange") -> bytes:
    from litefleet_agent.runtime.interface import ModelError

    began = time.perf_counter()
    try:
        model.run_stored(exchange.inputs, exchange.outputs)
    except ModelError as e:
        return msgspec.json.encode(Verdict(str(e.code), str(e)[:1000]))
    except MemoryError:
        return msgspec.json.encode(Verdict(str(Code.MEMORY_LIMIT), "no memory left for an inference"))
    return DONE + TOOK.pack(time.perf_counter() - began)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
