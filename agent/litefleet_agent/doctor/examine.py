"""The whole look, in the order in which one thing stands on another."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from litefleet_agent import identity
from litefleet_agent.doctor import artifacts, broker, engines, ground, history, papers
from litefleet_agent.doctor.finding import Finding, fail
from litefleet_agent.doctor.patient import Patient, running_on
from litefleet_agent.errors import AgentError

Look = Callable[[Patient], list[Finding]]
LOOKS: tuple[tuple[str, Look], ...] = (
    ("config", ground.configuration),
    ("state", ground.state_directory),
    ("agent", ground.process),
    ("clock", ground.clock),
    ("identity", papers.papers),
    ("broker", broker.broker),
    ("runtime", engines.engines),
    ("slots", artifacts.slots),
    ("journal", history.history),
)


def examine(state_dir: Path, config: Path | None, *, wall: float, timeout_s: float = 5.0) -> list[Finding]:
    """Look at everything; what one look can't read doesn't keep the others from theirs."""
    patient = Patient(state_dir, config, wall, running_on(state_dir), timeout_s=timeout_s)
    found: list[Finding] = []
    try:
        patient = replace(patient, identity=identity.read(patient.disk, state_dir))
    except AgentError as e:
        found.append(fail("identity", str(e), e.hint))
    except OSError as e:
        found.append(fail("identity", str(e), "run the doctor as the user that the agent runs as"))
    for what, look in LOOKS:
        try:
            found += look(patient)
        except OSError as e:
            found.append(fail(what, str(e), "run the doctor as the user that the agent runs as"))
    return found
