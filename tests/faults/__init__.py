"""What boards and sites do to software, done to ours on purpose: `python -m tests.faults [NAME ...] [--json]`.

Each fault is a measure: its figures say how often it was done, what was lost and how long it took to converge.
`make faults` runs them whole and writes docs/faults.md.
"""

from tests.faults.agent_kills import agent_kills
from tests.faults.bad_models import bad_models
from tests.faults.controller_kills import controller_kills
from tests.faults.mutants import mutants
from tests.figures import Measure

FAULTS: dict[str, Measure] = {
    "agent-kills": agent_kills,
    "bad-models": bad_models,
    "controller-kills": controller_kills,
    "mutants": mutants,
}
