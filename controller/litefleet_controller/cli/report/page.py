"""The whole page: what each class got and out of what, then how each variant answers. No script, nothing fetched."""

from collections.abc import Iterator
from importlib.resources import files
from typing import Any
from xml.etree.ElementTree import Element

from litefleet_controller.cli.candidates import ordered, since, unchosen
from litefleet_controller.cli.printing import percent, size
from litefleet_controller.cli.report.answers import variant_sections
from litefleet_controller.cli.report.markup import Child, document, el
from litefleet_controller.cli.report.scatter import front_of, quality_of, scatter
from litefleet_controller.cli.report.wording import candidate_verdict, latency_words, shown_latency

Json = dict[str, Any]
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Asks nothing of anybody, even if a label could."""
_HEADERS = (
    ("", ""), ("Recipe", ""), ("Size", "n"), ("Agreement", "n"), ("Accuracy", "n"), ("Activations", "n"),
    ("Here", "n"), ("Boards", "n"), ("Verdict", ""),
)  # fmt: skip


def page(report: Json) -> str:
    """The fleet API's report as one HTML file."""
    style = (files(__package__) / "page.css").read_text(encoding="utf-8")
    title = f"{report['model']}, version {report['number']}"
    return document(
        el(
            "html",
            el(
                "head",
                el("meta", charset="utf-8"),
                _meta("viewport", "width=device-width, initial-scale=1"),
                el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
                el("title", f"{title}: variants"),
                el("style", style),
            ),
            el("body", _header(report, title), _main(report), _footer(report)),
            lang="en",
        )
    )


def _meta(name: str, content: str) -> Element:
    return el("meta", name=name, content=content)


def _header(report: Json, title: str) -> Element:
    labels = f", {len(report['labels'])} classes" if report["labels"] else ""
    about = f"{report['version']}: {report['phase']}. From a {report['source']['format']} source{labels}."
    return el(
        "header",
        el("h1", title),
        el("p", about, class_="muted"),
        el(
            "nav",
            el(
                "ul",
                (el("li", el("a", c["deviceClass"], href=f"#class-{c['deviceClass']}")) for c in report["classes"]),
                el("li", el("a", "How they answer", href="#answers")) if report["examinations"] else None,
            ),
            aria_label="On this page",
        ),
    )  # fmt: skip


def _main(report: Json) -> Element:
    if not report["classes"]:
        return el("main", el("p", report["message"] or "Nothing was converted yet."))
    return el("main", (_class(c) for c in report["classes"]), variant_sections(report))


def _class(entry: Json) -> Element:
    name = entry["deviceClass"]
    candidates = entry["candidates"]
    return el(
        "section",
        el("h2", name, id=f"class-{name}"),
        _pick(entry),
        _measured(entry),
        _table(name, candidates) if candidates else None,
        _plot(name, candidates, entry["sourceAccuracy"]),
        (el("p", f"How {entry['recipe']} was made: {note}.", class_="muted") for note in entry["notes"]),
        aria_labelledby=f"class-{name}",
    )


def _pick(entry: Json) -> Element:
    choice = entry["choice"]
    if entry["state"] != "Ready":
        return el("div", f"{entry['state']}: {entry['code']} {entry['message']}".strip(), class_="pick refusal")
    if not choice:
        return el(
            "div",
            el("strong", entry["recipe"]),
            f", {unchosen(entry)}.",
            class_="pick",
        )
    others = f" In its place, the best first: {', '.join(choice['others'])}." if choice.get("others") else ""
    return el(
        "div",
        el("p", el("strong", entry["recipe"]), f", for {choice['objective']}: {choice['reason']}."),
        el("p", f"{latency_words(choice['latencyFrom'])}{others}", class_="muted"),
        class_="pick",
    )  # fmt: skip


def _measured(entry: Json) -> Element | None:
    m = entry["measured"]
    if not m or not m["count"]:
        return None
    said = since(m)
    return el("p", f"{said[:1].upper()}{said[1:]}.")


def _table(name: str, candidates: list[Json]) -> Element:
    return el(
        "div",
        el(
            "table",
            el(
                "caption",
                f"What was tried for {name}. Here, Boards: ms of one inference, median / 99th percentile.",
            ),
            el("thead", el("tr", (el("th", t, scope="col", class_=c or None) if t else el("td") for t, c in _HEADERS))),
            el("tbody", (_row(c) for c in ordered(candidates))),
        ),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label=f"Candidates for {name}",
    )


def _row(c: Json) -> Element:
    is_picked = c["verdict"] == "Picked"
    cells: list[Child] = [
        el("td", el("span", "★", aria_label="picked", role="img") if is_picked else None),
        el("th", c["recipe"], scope="row"),
        *(
            el("td", text, class_="n")
            for text in (
                size(c.get("sizeBytes")),
                percent(c.get("agreement")),
                percent(c.get("accuracy")),
                size(c.get("activationBytes")),
                shown_latency(c.get("hint")),
                shown_latency(c.get("boards")),
            )
        ),
        el("td", candidate_verdict(c)),
    ]
    return el("tr", cells, class_="picked" if is_picked else None)


def _plot(name: str, candidates: list[Json], source_accuracy: float | None) -> Iterator[Element]:
    quality = quality_of(candidates)
    if not any(c.get(quality) is not None for c in candidates):
        return
    said = "; ".join(f"{c['recipe']} {size(c['sizeBytes'])}, {percent(c[quality], 2)}" for c in front_of(candidates))
    yield el(
        "figure",
        scatter(name, candidates, source_accuracy),
        el(
            "figcaption",
            f"Size against {quality}. A star is what was picked, a dot is on the front, a ring is beaten, a cross is "
            "refused. The line joins what nothing beats in these two alone: "
            f"{said or 'nothing holds the limits'}."
            + (f" The source has {percent(source_accuracy, 2)}." if source_accuracy is not None else ""),
        ),
    )  # fmt: skip


def _footer(report: Json) -> Element:
    processors = {c["hint"]["processor"] for e in report["classes"] for c in e["candidates"] if c.get("hint")}
    here = f" “Here” is one thread of {', '.join(sorted(processors))}." if processors else ""
    made = f" Version made at {report['createdAt']}." if report["createdAt"] else ""
    return el(
        "footer",
        el(
            "p",
            f"Drawn by litefleet model report.{made}{here} Latencies of two processors say nothing about each other.",
        ),
    )
