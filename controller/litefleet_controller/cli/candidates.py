"""What a class's variant was chosen from, as people read it: for `describe` and `model report`."""

from collections.abc import Iterator
from typing import Any

from litefleet_controller.cli.printing import columns, number, percent, size

Json = dict[str, Any]
PICKED = "*"
_ORDER = ("Picked", "Front", "Dominated", "Duplicate", "Refused")
_HEADERS = ["", "Recipe", "Size", "Agreement", "Accuracy", "Activations", "Here ms", "Boards ms", "Verdict"]


def report_lines(report: Json) -> Iterator[str]:
    """The fleet API's report of a version, for a terminal."""
    yield f"{report['model']} version {report['number']} ({report['version']}): {report['phase']}"
    if not report["classes"]:
        yield report["message"] or "nothing was converted yet"
    for entry in report["classes"]:
        yield ""
        choice = entry["choice"]
        if entry["state"] != "Ready":
            yield f"{entry['deviceClass']}: {entry['state']}: {entry['code']}: {entry['message']}"
        elif choice:
            yield f"{entry['deviceClass']}: {entry['recipe']}, for {choice['objective']}: {choice['reason']}"
        else:
            yield f"{entry['deviceClass']}: {entry['recipe']}, {unchosen(entry)}"
        yield from candidate_table(entry["candidates"])
        yield from entry["notes"]
        if (measured := entry["measured"]) and measured["count"]:
            yield since(measured)


def unchosen(entry: Json) -> str:
    """Why a class got what it got, where nothing was chosen."""
    if entry.get("isPrebuilt"):
        return "compiled elsewhere and not run by the controller: boards check it against the source's answers"
    return "the first of its ladder that holds its limits"


def since(measured: Json) -> str:
    """What boards have measured with a version since it was decided."""
    ms = measured["latencyMs"]
    return (
        f"boards have run this version {measured['count']:,} times since ({_boards(measured['devices'])}): median "
        f"{number(ms['p50'])} ms, 99th percentile {number(ms['p99'])} ms, {percent(measured['errorRate'], 2)} errors; "
        "the next version's choice takes that into account, this one's stays"
    )


def _boards(count: int) -> str:
    return "1 board" if count == 1 else f"{count} boards"


def candidate_lines(entry: Json) -> Iterator[str]:
    """Of an entry of a ModelVersion's `status.classes` whose variant was picked by measurement; nothing of others."""
    choice = entry.get("choice")
    if not choice:
        return
    yield f"{entry['deviceClass']} picked by {choice['objective']}: {choice['reason']}"
    if choice.get("others"):
        yield f"  in its place, the best first: {', '.join(choice['others'])}"
    yield from (f"  {line}" for line in candidate_table(entry.get("candidates") or []))


def candidate_table(candidates: list[Json]) -> list[str]:
    """One line a candidate; latencies are medians, `Here` those of the converting machine."""
    return columns(_HEADERS, [_row(c) for c in ordered(candidates)])


def ordered(candidates: list[Json]) -> list[Json]:
    """What was picked first, refusals last; of the same verdict the smaller first."""
    return sorted(candidates, key=lambda c: (_ORDER.index(c["verdict"]), c.get("sizeBytes") or 0, c["recipe"]))


def _row(c: Json) -> tuple[object, ...]:
    return (
        PICKED if c["verdict"] == "Picked" else "",
        c["recipe"],
        size(c.get("sizeBytes")),
        percent(c.get("agreement")),
        percent(c.get("accuracy")),
        size(c.get("activationBytes")),
        number((c.get("hint") or {}).get("p50Ms"), 3),
        number((c.get("boards") or {}).get("p50Ms"), 3),
        verdict(c),
    )


def verdict(c: Json) -> str:
    """A candidate's verdict with its reason; the picked one's stands above the table already."""
    match c["verdict"]:
        case "Picked":
            return "picked"
        case "Front":
            return "on the front"
        case "Refused":
            return f"refused: {c.get('code', '')}: {c.get('why', '')}"
    return str(c.get("why", ""))
