"""From what each recipe came to, to the one that a class gets: first of a ladder, or best by an objective. Pure.

choice.py knows figures only; here they are put together for it, and its answer is put into words for each recipe.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from litefleet_controller.convert.cache import VariantEntry
from litefleet_controller.convert.interface import (
    ConversionRequest,
    Pick,
    RecipeName,
    RefusedRung,
    Verdict,
    Weighed,
    name_of,
)
from litefleet_controller.convert.judging.choice import Candidate, Choice, choose
from litefleet_controller.convert.latency import Seen, same_machine, seen_of
from litefleet_controller.resources.recipe import Objective


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one recipe came to for a class."""

    recipe: RecipeName
    entry: VariantEntry | None
    """None when nothing could be made; then there is a refusal."""
    refusal: RefusedRung | None
    is_cached: bool = False


def refused_latency(recipe: RecipeName, variant: VariantEntry, request: ConversionRequest) -> RefusedRung | None:
    """Why a class refuses `variant` after its boards ran it, or one like it; None when it doesn't or they didn't."""
    seen = _seen(recipe, variant, request)
    if seen is None or request.max_latency_ms is None or seen.p95_ms <= request.max_latency_ms:
        return None
    return RefusedRung(
        recipe,
        "TooSlow",
        f"{recipe} took {seen.p95_ms:.3g} ms (95th percentile of {seen.inferences} inferences) on {seen.devices} of "
        f"the class's boards as {seen.version}; the class allows {request.max_latency_ms:g} ms",
    )


def best(attempts: Sequence[Attempt], request: ConversionRequest, objective: Objective) -> Choice | None:
    """The choice among the attempts that weren't refused; None when all of them were.

    Of several recipes that made the same file the first stands for all.
    """
    candidates: dict[str, Candidate] = {}
    for attempt in attempts:
        if attempt.entry is not None and attempt.refusal is None:
            candidate = _candidate(attempt.recipe, attempt.entry, request)
            candidates.setdefault(name_of(attempt.entry.files), candidate)
    if not candidates:
        return None
    return choose(
        list(candidates.values()),
        objective,
        hint_counts=_hint_counts(attempts, request),
        quality=request.measure.metric,
    )


def pick_of(choice: Choice, objective: Objective) -> Pick:
    """The choice, as a class's status has it."""
    return Pick(objective, choice.reason, choice.latency_from, choice.front[1:])


def weighed(attempts: Sequence[Attempt], request: ConversionRequest, choice: Choice | None) -> tuple[Weighed, ...]:
    """Every attempt with its verdict. `choice`: None for a ladder, or when everything was refused."""
    first: dict[str, RecipeName] = {}
    found = []
    for attempt in attempts:
        entry = attempt.entry
        verdict, why, code = _verdict(attempt, choice, first)
        if entry is None:
            found.append(Weighed(attempt.recipe, verdict, why, code))
            continue
        found.append(
            Weighed(
                recipe=attempt.recipe,
                verdict=verdict,
                why=why,
                code=code,
                model=name_of(entry.files),
                size=entry.size,
                agreement=entry.agreement,
                accuracy=entry.accuracy,
                activations=entry.arena_bytes,
                hint=entry.hint,
                boards=_seen(attempt.recipe, entry, request),
                examination=entry.examination,
            )
        )
    return tuple(found)


def _verdict(attempt: Attempt, choice: Choice | None, first: dict[str, RecipeName]) -> tuple[Verdict, str, str]:
    """Verdict, why and code. `first`: the recipe that each file was met with first; grows."""
    if attempt.refusal is not None:
        return "Refused", attempt.refusal.message, attempt.refusal.code
    if attempt.entry is None:
        raise AssertionError("an attempt without an entry has a refusal")
    before = first.setdefault(name_of(attempt.entry.files), attempt.recipe)
    if choice is None:
        return "Picked", "the first of the ladder that holds the class's limits", ""
    if before != attempt.recipe:
        return "Duplicate", f"the same file as {before}", ""
    if attempt.recipe == choice.recipe:
        return "Picked", choice.reason, ""
    if attempt.recipe in choice.beaten:
        return "Dominated", choice.beaten[attempt.recipe], ""
    return "Front", "no other is better in everything", ""


def _candidate(recipe: RecipeName, entry: VariantEntry, request: ConversionRequest) -> Candidate:
    seen = _seen(recipe, entry, request)
    return Candidate(
        recipe=recipe,
        size=entry.size,
        accuracy=entry.fidelity,
        agreement=entry.agreement,
        activations=entry.arena_bytes or 0,
        hint_ms=entry.hint.p50_ms,
        board_ms=seen.p50_ms if seen is not None else None,
    )


def _seen(recipe: RecipeName, entry: VariantEntry, request: ConversionRequest) -> Seen | None:
    return seen_of(recipe, entry.size, entry.signature, request.seen)


def _hint_counts(attempts: Sequence[Attempt], request: ConversionRequest) -> bool:
    """Whether what was measured here may stand for the boards: they have the same kind of processor, and it runs it."""
    return request.target == "cpu" and all(
        same_machine(a.entry.hint, request.machines) for a in attempts if a.entry is not None
    )
