"""What boards and sites do to software, done to ours on purpose: `python -m tests.faults [NAME ...] [--json]`.

Each fault is a measure: its figures say how often it was done, what was lost and how long it took to converge.
`make faults` runs them whole and writes docs/faults.md.
"""

from tests.faults.agent_kills import agent_kills
from tests.faults.bad_models import bad_models
from tests.faults.broker_lost import broker_lost
from tests.faults.chunks import chunks
from tests.faults.clocks import clocks
from tests.faults.controller_kills import controller_kills
from tests.faults.database_locked import database_locked
from tests.faults.disk_full import disk_full
from tests.faults.malformed_sources import malformed_sources
from tests.faults.mutants import mutants
from tests.faults.partition import partition
from tests.faults.two_controllers import two_controllers
from tests.figures import Measure

FAULTS: dict[str, Measure] = {
    "agent-kills": agent_kills,
    "bad-models": bad_models,
    "controller-kills": controller_kills,
    "database-locked": database_locked,
    "disk-full": disk_full,
    "broker-lost": broker_lost,
    "chunks": chunks,
    "clocks": clocks,
    "malformed-sources": malformed_sources,
    "mutants": mutants,
    "two-controllers": two_controllers,
    "partition": partition,
}
