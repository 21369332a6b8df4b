"""`litefleet explain variant`: from a file on a board back to what was pushed, and who uses it."""

from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import typer

from litefleet_controller.cli.prebuilt import prebuilt_line
from litefleet_controller.cli.printing import percent, size
from litefleet_controller.cli.session import connected, current

app = typer.Typer(no_args_is_help=True, help="Say where something comes from.")

Json = dict[str, Any]
_LABEL = 13


@app.command()
@connected
def variant(
    context: typer.Context,
    reference: Annotated[
        str,
        typer.Argument(help="A digest, the beginning of one, or MODELVERSION/CLASS.", show_default=False),
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="text, json, or statement.")] = "text",
) -> None:
    """From a variant back to its recipe, calibration, source and Model; what made it, and who uses it.

    `-o statement` prints the in-toto statement (SLSA provenance) alone, byte for byte as it is kept.
    """
    import json

    from litefleet_controller.cli.errors import CliError, UsageError
    from litefleet_controller.cli.printing import show

    if output not in ("text", "json", "statement"):
        raise UsageError(f"-o {output!r}: use text, json or statement")
    with current(context) as session:
        found = session.client.get(session.fleet(f"variants/{quote(reference, safe='/:')}"))
        if output == "statement":
            if found["statement"] is None:
                raise CliError(found["statementTrouble"], "NotFound")
            digest = found["provenance"]["statement"]
            print(session.client.download(f"/fleet/v1/blobs/{digest}").decode())
            return
    if output == "json":
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        show(lines(found))


def lines(found: Json) -> list[str]:
    """The chain, the variant first."""
    statement = found["statement"]
    text = list(_variant(found["variant"]))
    if statement is not None:
        text += [*_made_of(found, statement["predicate"]), *_made_by(statement["predicate"])]
    else:
        text.append(_line("Provenance", found["statementTrouble"]))
    return [*text, *_used_by(found["uses"])]


def _variant(v: Json) -> Iterator[str]:
    yield _line("Variant", v["digest"])
    yield _line("", f"{v['recipe']} for {v['runtime']}, {size(v['sizeBytes'])}; {_likeness(v)}")
    if len(v.get("files") or []) > 1:
        for file in v["files"]:
            yield _line("", f"{file['name']} {file['digest']}")


def _likeness(v: Json) -> str:
    """How near it is to its source, in the terms of what it answers."""
    if v.get("agreement") is None:
        return "read, and not run by the controller"
    if v.get("accuracy") is None and v.get("closeness"):
        return ", ".join(f"{c['output']} is off by {percent(c['meanError'])} of its spread" for c in v["closeness"])
    said = f"agrees with the source on {percent(v['agreement'])}"
    return said + (f", accuracy {percent(v['accuracy'])}" if v.get("accuracy") is not None else "")


def _made_of(found: Json, predicate: Json) -> Iterator[str]:
    build, recorded = predicate["buildDefinition"], found["provenance"]
    if recorded.get("prebuilt"):
        yield from _adopted(found, recorded)
        return
    recipe = build["internalParameters"]["recipe"]
    yield _line("Recipe", f"{build['externalParameters']['recipe']} ({recorded['recipe']})")
    yield _line("", recipe["summary"])
    if recorded.get("calibration"):
        samples = build["internalParameters"]["calibrationSamples"]
        yield _line("Calibration", f"{recorded['calibration']}, the first {samples} samples")
    else:
        yield _line("Calibration", "none was needed")
    if recorded.get("training"):
        yield _line("Training", recorded["training"])
    yield from _source(found, recorded)


def _adopted(found: Json, recorded: Json) -> Iterator[str]:
    """Of a file that was compiled elsewhere: what it is, and what it is held against."""
    target = found["variant"]["target"]
    yield _line("Recipe", "none: compiled elsewhere, and taken as it is")
    yield _line("Prebuilt", f"{recorded['prebuilt']} (spec.prebuilt.{target['name']})")
    yield _line("", prebuilt_line(target["prebuilt"]))
    yield _line("Not run", target["message"])
    yield from _source(found, recorded)


def _source(found: Json, recorded: Json) -> Iterator[str]:
    yield _line("Evaluation", recorded["evaluation"])
    yield _line("Frozen", recorded["frozen"])
    spec = found["uses"][0]
    yield _line("Source", f"{recorded['source']} ({spec['source']['format']})")
    yield _line("Model", f"{spec['model']}, as {', '.join(dict.fromkeys(u['version'] for u in found['uses']))}")


def _made_by(predicate: Json) -> Iterator[str]:
    details = predicate["runDetails"]
    metadata, versions = details["metadata"], details["builder"]["version"]
    steps = metadata["litefleet_steps"]
    if steps:
        parts = ", ".join(f"{s['name']} {s['seconds']:.1f} s" for s in steps)
        yield _line("Made", f"{metadata['startedOn']} to {metadata['finishedOn']}: {parts}")
    yield _line("By", ", ".join(f"{name} {number}" for name, number in sorted(versions.items(), key=_own_first)))
    holds = [s["containment"] for s in steps if s.get("containment")]
    if holds:
        measures = ("calls", "writes", "secrets", "privileges", "memory")
        loose = [name for name in measures if any(h.get(name) is False for h in holds)]
        network = ", ".join(dict.fromkeys({"none": "not closed"}.get(h["network"], h["network"]) for h in holds))
        yield _line("Contained", f"network: {network}" + (f"; not held: {', '.join(loose)}" if loose else "; all held"))


def _used_by(uses: list[Json]) -> Iterator[str]:
    label = "Used by"
    for use in uses:
        boards = f"{use['boardsServing']} boards serve it, {use['boardsTold']} were told to"
        rollouts = f"; rollouts: {', '.join(use['rollouts'])}" if use["rollouts"] else ""
        yield _line(label, f"{use['version']}/{use['class']}, artifact {use['artifact']}: {boards}{rollouts}")
        if choice := use.get("choice"):
            yield _line("", f"picked for {choice['objective']}: {choice['reason']}")
        label = ""


def _own_first(item: tuple[str, str]) -> tuple[bool, str]:
    return item[0] != "litefleet", item[0]


def _line(label: str, text: str) -> str:
    return f"{label + ':' if label else '':<{_LABEL}}{text}"
