"""A fleet in virtual time around the decision core: boards with characters, commits that may crash, synthetic telemetry.

Nothing here decides anything about a rollout. `World.run` does what the reconciler does: it asks, commits commands and
status together (or loses both), and moves the clock to whatever happens next. The status passes through JSON at each
commit, as it does through the store.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from litefleet_controller.resources.rollout import (
    AnalysisTemplateSpec,
    ModelRolloutSpec,
    ModelRolloutStatus,
)
from litefleet_controller.rollout.decide import decide, needs_evidence
from litefleet_controller.rollout.view import (
    Arm,
    Board,
    Command,
    Decision,
    Evidence,
    EvidenceSpan,
    Notice,
    Request,
    RolloutView,
    VersionForClass,
)

EPOCH = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEVER = 10**9


@dataclass
class SimBoard:
    """One board. `seconds` an update takes; `absent` are the spans (begin, end) in which it is offline."""

    name: str
    device_class: str
    seconds: float = 5.0
    fails: frozenset[str] = frozenset()
    """Versions that fail here."""
    absent: tuple[tuple[float, float], ...] = ()
    code: str = "GoldenMismatch"
    conflict: str = ""
    version: str = ""
    artifact: str = ""
    assigned_at: datetime | None = None
    assigned_by: str = ""
    current: str = ""
    current_version: str = ""
    desired: str = ""
    phase: str = ""
    error: str = ""
    mute: bool = False
    """Online, but it neither acts nor reports."""
    _ready_at: float = NEVER

    def online(self, t: float) -> bool:
        return not any(begin <= t < end for begin, end in self.absent)

    def move(self, t: float) -> None:
        """What the agent does: nothing while offline, else follow the retained desired state."""
        if self.mute or not self.online(t):
            return
        if self.desired != self.artifact:
            self.desired, self.error = self.artifact, ""
            self.phase = "Preparing" if self.artifact else ""
            self._ready_at = t + self.seconds if self.artifact else NEVER
            if not self.artifact:
                self.current = self.current_version = ""
        if t >= self._ready_at:
            self._ready_at = NEVER
            if self.version in self.fails:
                self.phase, self.error = "Failed", self.code
            else:
                self.phase, self.current, self.current_version = "Updated", self.artifact, self.version

    def moments(self) -> Iterator[float]:
        yield self._ready_at
        for span in self.absent:
            yield from span

    def seen(self, t: float) -> Board:
        return Board(
            name=self.name,
            device_class=self.device_class,
            online=self.online(t),
            assigned_version=self.version,
            assigned_artifact=self.artifact,
            assigned_at=self.assigned_at,
            assigned_by=self.assigned_by,
            current_artifact=self.current,
            current_version=self.current_version,
            desired_artifact=self.desired,
            phase=self.phase,
            code=self.error,
            conflict=self.conflict,
        )


def artifact_of(version: str, device_class: str) -> str:
    return f"sha256:{version}/{device_class}"


Telemetry = Callable[[str, str, float], Arm]
"""(version, class, seconds since the span began) -> what its boards did."""


def silent(version: str, device_class: str, seconds: float) -> Arm:
    return Arm()


@dataclass
class World:
    boards: list[SimBoard]
    spec: ModelRolloutSpec
    target: str = "digits-v1"
    t: float = 0.0
    status: ModelRolloutStatus = field(default_factory=ModelRolloutStatus)
    templates: dict[str, AnalysisTemplateSpec] = field(default_factory=dict)
    telemetry: Telemetry = silent
    conversions: dict[tuple[str, str], VersionForClass] = field(default_factory=dict)
    """What isn't said here is Ready."""
    missing_classes: frozenset[str] = frozenset()
    request: Request | None = None
    generation: int = 1
    name: str = "line-a"
    notices: list[Notice] = field(default_factory=list)
    commands: list[tuple[float, Command]] = field(default_factory=list)
    crashes: Iterator[bool] = field(default_factory=lambda: itertools.repeat(False))
    events: list[tuple[float, Callable[["World"], None]]] = field(default_factory=list)
    observers: list[Callable[["World", ModelRolloutStatus, Decision], None]] = field(default_factory=list)
    trail: list[ModelRolloutStatus] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.t)

    def version(self, version: str, device_class: str) -> VersionForClass:
        ready = VersionForClass("Ready", artifact=artifact_of(version, device_class), recipe="int8")
        return self.conversions.get((version, device_class), ready)

    def view(self, evidence: tuple[Evidence, ...] = ()) -> RolloutView:
        wanted = {self.target, *(c.stable for c in self.status.classes)} - {""}
        classes = {b.device_class for b in self.boards}
        return RolloutView(
            name=self.name,
            uid="0d0e",
            generation=self.generation,
            spec=self.spec,
            status=self.status,
            target=self.target,
            target_missing="" if self.target else "model digits does not exist",
            boards=[b.seen(self.t) for b in self.boards],
            versions={(v, c): self.version(v, c) for v in wanted for c in classes},
            templates=self.templates,
            evidence=evidence,
            request=self.request,
            missing_classes=self.missing_classes,
        )

    def evidence(self, spans: list[EvidenceSpan]) -> tuple[Evidence, ...]:
        found: list[Evidence] = []
        for span in spans:
            seconds = (self.now - span.since).total_seconds()
            for name, (canary, control) in span.classes.items():
                past = span.past.get(name, "")
                found.append(
                    Evidence(
                        device_class=name,
                        canary=self.telemetry(canary, name, seconds),
                        control=self.telemetry(control or past, name, seconds if control else 1000.0),
                        baseline="control" if control else "past",
                        since=span.since,
                    )
                )
        return tuple(found)

    def decide(self) -> Decision:
        spans = list(needs_evidence(self.view(), self.now))
        view = self.view(self.evidence(spans))
        decision = decide(view, self.now)
        assert decide(view, self.now) == decision, "the same view and time gave two decisions"
        return decision

    def step(self) -> tuple[Decision, bool]:
        """Decide and commit, unless the process dies in between (then False)."""
        decision = self.decide()
        lives = not next(self.crashes)
        if lives:
            self.commit(decision)
        return decision, lives

    def commit(self, decision: Decision) -> None:
        before = self.status
        by_name = {b.name: b for b in self.boards}
        for command in decision.commands:
            board = by_name[command.device]
            board.version, board.artifact = command.version, command.artifact
            board.assigned_at, board.assigned_by = (self.now, self.name) if command.artifact else (None, "")
            self.commands.append((self.t, command))
        self.status = ModelRolloutStatus.model_validate(decision.status.dump())
        assert self.status == decision.status, "the status does not survive the store"
        self.notices += decision.notices
        if decision.consumed_request:
            self.request = None
        self.trail.append(self.status)
        for observe in self.observers:
            observe(self, before, decision)

    def settle(self) -> Decision:
        """Decide at this moment until nothing changes any more."""
        for _ in range(500):
            before = self.status
            for board in self.boards:
                board.move(self.t)
            decision, lives = self.step()
            if lives and self.status == before and not decision.commands:
                return decision
        raise AssertionError(f"does not come to rest: {self.status.message}")

    def run(self, seconds: float) -> None:
        """Let `seconds` pass, stopping wherever something happens."""
        until = self.t + seconds
        while True:
            decision = self.settle()
            moments = [m for b in self.boards for m in b.moments()] + [t for t, _ in self.events]
            if decision.requeue_after_s is not None:
                moments.append(self.t + decision.requeue_after_s)
            upcoming = min((m for m in moments if m > self.t), default=NEVER)
            if upcoming > until:
                self.t = until
                self.settle()
                return
            self.t = upcoming
            due = [e for t, e in self.events if t <= self.t]
            self.events = [(t, e) for t, e in self.events if t > self.t]
            for event in due:
                event(self)

    def ask(self, verb: str, by: str = "ada") -> None:
        self.request = Request(verb, f"{verb}-{self.t}-{len(self.commands)}", by)
        self.settle()

    def on(self, version: str) -> set[str]:
        """Names of the boards commanded to `version`."""
        return {b.name for b in self.boards if b.version == version}

    def entry(self, device_class: str):
        return next(c for c in self.status.classes if c.device_class == device_class)


def spec(*steps: dict, **more) -> ModelRolloutSpec:
    """A spec with canary `steps`; `more` goes to the spec, `max_unavailable` and `analysis` to the strategy."""
    canary: dict = {"steps": list(steps), "maxUnavailable": more.pop("max_unavailable", "100%")}
    if "analysis" in more:
        canary["analysis"] = more.pop("analysis")
    body = {"modelRef": {"name": "digits"}, "strategy": {"canary": canary}, **more}
    return ModelRolloutSpec.model_validate(body)


def fleet(**classes: int) -> list[SimBoard]:
    """`rpi=3` makes rpi-0, rpi-1, rpi-2."""
    return [SimBoard(f"{name}-{i}", name) for name, count in classes.items() for i in range(count)]


def settled(world: World, version: str = "digits-v1") -> World:
    """`world` after `version` completed everywhere with no steps; its own spec and target come after."""
    spec_, target, world.target = world.spec, world.target, version
    world.spec = spec()
    world.run(60)
    assert world.status.phase == "Healthy", world.status.message
    world.spec, world.target = spec_, target if target != version else "digits-v2"
    world.commands.clear()
    world.notices.clear()
    world.trail.clear()
    return world
