"""How each variant answers beside its source: confidence, confusion, and where an int8 model's errors come from."""

import math
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

from litefleet_controller.cli.printing import percent
from litefleet_controller.cli.report.markup import el
from litefleet_controller.cli.report.plots import MAX_MATRIX, confidence, confusion, layer_bars, values

Json = dict[str, Any]
_WORST = 5
_PAIRS = 12


def variant_sections(report: Json) -> Element | None:
    """A section for each variant that was examined, however many classes have it."""
    found: dict[str, list[str]] = {}
    for entry in report["classes"]:
        for c in entry["candidates"]:
            digest = c.get("examination")
            if digest in report["examinations"] and c["recipe"] not in found.setdefault(digest, []):
                found[digest].append(c["recipe"])
    if not found:
        return None
    return el(
        "section",
        el("h2", "How they answer", id="answers"),
        el("p", "Each variant beside its source, on the samples of the evaluation set."),
        (_variant(report, recipes, report["examinations"][digest]) for digest, recipes in found.items()),
        aria_labelledby="answers",
    )


def _variant(report: Json, recipes: list[str], e: Json) -> Element:
    name, outputs = " and ".join(recipes), e.get("values")
    return el(
        "article",
        el("h3", name),
        el("p", _agreement(report, e)),
        el("div", _confidence(name, e), _confusion(report, name, e), class_="pair") if e["classes"] else None,
        el("div", (_values(name, output) for output in outputs), class_="pair") if outputs else None,
        _layers(name, e) if e["layers"] else None,
    )


def _agreement(report: Json, e: Json) -> str:
    agreed = e["samples"] - e["disagreements"]
    said = f"Answers as the source on {agreed:,} of {e['samples']:,} samples ({percent(agreed / e['samples'], 2)})."
    if e["pairs"]:
        worst = e["pairs"][0]
        times = "once" if worst["count"] == 1 else f"{worst['count']} times"
        names = _label(report, worst["variant"]), _label(report, worst["source"])
        said += f" Most often apart: {names[0]} where the source says {names[1]}, {times}."
    return said


def _confidence(name: str, e: Json) -> Element:
    mine, theirs = _sure(e["confidence"]), _sure(e["sourceConfidence"])
    softmax = " The model answers in logits; softmax made probabilities of them." if e["isSoftmaxed"] else ""
    return el(
        "figure",
        el("h4", "Confidence"),
        confidence(name, e["confidence"], e["sourceConfidence"]),
        el(
            "figcaption",
            el("span", class_="key bar"), "variant ", el("span", class_="key outline"), "source. ",
            f"At least 95% sure of {percent(mine)} of the samples, the source of {percent(theirs)}.{softmax}",
        ),
    )  # fmt: skip


def _values(name: str, output: Json) -> Element:
    moved = sum(abs(a - b) for a, b in zip(output["variant"], output["source"], strict=True)) / 2
    return el(
        "figure",
        el("h4", f"Values of {output['output']}"),
        values(name, output),
        el(
            "figcaption",
            el("span", class_="key bar"), "variant ", el("span", class_="key outline"), "source. ",
            f"From {output['low']:.4g} to {output['high']:.4g} with the source; "
            f"{percent(moved / max(1, sum(output['source'])), 2)} of the variant's would have to move to another bar "
            "for the two to look the same.",
        ),
    )  # fmt: skip


def _sure(bins: list[int]) -> float:
    """Share of samples in the bins from 95 % on."""
    first = math.ceil(0.95 * len(bins))
    return sum(bins[first:]) / max(1, sum(bins))


def _confusion(report: Json, name: str, e: Json) -> Element | None:
    if not e["pairs"]:
        return el("figure", el("h4", "Against the source"), el("figcaption", "Both agree on every sample."))
    has_matrix = e["classes"] <= MAX_MATRIX
    names = [_label(report, i) for i in range(e["classes"])] if has_matrix else []
    return el(
        "figure",
        el("h4", "Against the source"),
        confusion(name, e, names) if has_matrix else _pairs(report, e),
        el(
            "figcaption",
            "Rows are the source's answers, columns the variant's; grey where both agree.",
            el("details", el("summary", "As a table"), _pairs(report, e)),
        )
        if has_matrix
        else None,
    )


def _pairs(report: Json, e: Json) -> Element:
    shown = e["pairs"][:_PAIRS]
    rest = e["disagreements"] - sum(p["count"] for p in shown)
    head = (el("th", t, scope="col", class_=c) for t, c in (("Source", None), ("Variant", None), ("Samples", "n")))
    return el(
        "table",
        el("thead", el("tr", head)),
        el("tbody", (_pair(report, p) for p in shown)),
        el("tfoot", el("tr", el("td", "all others", colspan=2), el("td", f"{rest}", class_="n"))) if rest else None,
    )


def _pair(report: Json, p: Json) -> Element:
    return el(
        "tr",
        el("td", _label(report, p["source"])),
        el("td", _label(report, p["variant"])),
        el("td", f"{p['count']}", class_="n"),
    )


def _label(report: Json, number: int) -> str:
    labels = report["labels"]
    return labels[number] if number < len(labels) else str(number)


def _layers(name: str, e: Json) -> Iterator[Element]:
    layers = e["layers"]
    numbered = sorted(enumerate(layers, 1), key=lambda item: -item[1]["error"])[:_WORST]
    kept = [layer for layer in layers if layer["dtype"] == "float32"]
    yield el(
        "figure",
        el("h4", "Error of each layer"),
        layer_bars(name, layers),
        el(
            "figcaption",
            f"Root mean square of the difference to the float model's output over that of the output itself, on "
            f"{e['layerSamples']} calibration samples; errors of earlier layers are in it. {_jump(layers)}The largest:",
            el("ol", (el("li", _layer(layer), value=n) for n, layer in numbered)),
            f"{len(kept)} of {len(layers)} layers give float32, in grey. " if kept else None,
            f"{e['leftOut']} more layers with smaller errors are not shown." if e["leftOut"] else None,
        ),
    )


def _jump(layers: list[Json]) -> str:
    """Where the error grows most: what to look at first."""
    before = [0.0, *(layer["error"] for layer in layers)]
    at = max(range(len(layers)), key=lambda i: before[i + 1] - before[i])
    if not at or before[at + 1] <= before[at]:
        return ""
    there = f"layer {at + 1}, {layers[at]['operator']} {layers[at]['name']}"
    return f"It grows most at {there}: from {100 * before[at]:.2g}% to {100 * before[at + 1]:.2g}%. "


def _layer(layer: Json) -> str:
    error = layer["error"]
    noise = f", {-20 * math.log10(error):.0f} dB of signal to noise" if error > 0 else ""
    return f"{layer['operator']} {layer['name']}: {100 * error:.2g}%{noise}"
