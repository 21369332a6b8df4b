"""Words for what the report's fields say, the same on the page and on the terminal."""

from typing import Any

from litefleet_controller.cli.candidates import verdict
from litefleet_controller.cli.printing import number

Json = dict[str, Any]
_LATENCY_FROM = {
    "Boards": "Latencies that the class's own boards measured were compared.",
    "Here": "Latencies of the converting machine were compared: a hint, since the boards are of its architecture.",
    "Nowhere": "No latencies were compared: too few candidates have run on the class's boards, and the converting "
    "machine's say nothing about them.",
}


def latency_words(latency_from: str) -> str:
    """Whose latencies decided."""
    return _LATENCY_FROM.get(latency_from, "")


def shown_latency(latency: Json | None) -> str:
    """Milliseconds, median and 99th percentile."""
    return f"{number(latency['p50Ms'], 3)} / {number(latency['p99Ms'], 3)}" if latency else "-"


def candidate_verdict(c: Json) -> str:
    """A verdict as a sentence of the table: with a capital, but where it begins with a recipe's name."""
    said = verdict(c)
    return said if c["verdict"] == "Dominated" else said[:1].upper() + said[1:]
