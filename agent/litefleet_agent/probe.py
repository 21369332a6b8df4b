"""Loading an engine and trying what it runs on, in a process that may die of it: `python -m litefleet_agent.probe`.

A wheel that was built for a newer processor kills whoever imports it, and so may a driver. What is about to be done is
said before it is done, a JSON line each, so that whoever reads them (`probing`) knows what it died of.
"""

import argparse
import os
import sys

import msgspec
from msgspec import Struct

from litefleet_agent.errors import AgentError
from litefleet_agent.lifeline import die_with_parent
from litefleet_protocol.messages import AcceleratorFound

_PATIENCE = 10


class Loaded(Struct, frozen=True, tag="loaded"):
    """The engine is there."""

    version: str


class Failed(Struct, frozen=True, tag="failed"):
    """The engine is not, and everything ends here."""

    code: str
    message: str


class Trying(Struct, frozen=True, tag="trying"):
    """What comes next may be the last."""

    accelerator: str


class Tried(Struct, frozen=True, tag="tried"):
    """It was not."""

    found: AcceleratorFound


Line = Loaded | Failed | Trying | Tried


def main() -> None:
    """Load the engine that is named, and try its accelerators but for those that killed an earlier process."""
    parser = argparse.ArgumentParser(prog="python -m litefleet_agent.probe")
    parser.add_argument("engine")
    parser.add_argument("--skip", action="append", default=[], metavar="ACCELERATOR")
    parser.add_argument("--also", action="append", default=[], metavar="ACCELERATOR", help="one that it doesn't list")
    parser.add_argument("--leave-closed", action="store_true", help="don't open what one process at a time may")
    arguments = parser.parse_args()
    die_with_parent()
    os.nice(_PATIENCE)  # what the board is there for goes first
    try:
        from litefleet_agent.runtime.engines import runtime

        engine = runtime(arguments.engine)
        _say(Loaded(engine.version))
        for name in dict.fromkeys((*engine.accelerators(), *arguments.also)):
            if name in arguments.skip:
                continue
            _say(Trying(name))
            try:
                found = AcceleratorFound(
                    name=name, description=engine.try_accelerator(name, leave_closed=arguments.leave_closed)
                )
            except AgentError as e:
                found = AcceleratorFound(name=name, code=str(e.code), message=str(e))
            _say(Tried(found))
    except AgentError as e:
        _say(Failed(str(e.code), str(e)))


def _say(line: Line) -> None:
    os.write(sys.stdout.fileno(), msgspec.json.encode(line) + b"\n")


if __name__ == "__main__":
    main()
