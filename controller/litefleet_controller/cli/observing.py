"""`litefleet telemetry`: how a model does on the boards, by class and version."""

from typing import Annotated, Any

import typer

from litefleet_controller.cli.session import connected, current

Json = dict[str, Any]
_CLASSES_SHOWN = 3


@connected
def telemetry(
    context: typer.Context,
    slot: Annotated[str, typer.Argument(help="The slot: the Model's name.", show_default=False)],
    by: Annotated[str, typer.Option(help="Tell apart by class, version, or both.")] = "class,version",
    since: Annotated[str | None, typer.Option(help="Only what arrived in the last 10m, 2h, ...")] = None,
    version: Annotated[str | None, typer.Option(help="Only this ModelVersion.")] = None,
    device_class: Annotated[str | None, typer.Option("--class", help="Only this DeviceClass.")] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="table or json.")] = "table",
) -> None:
    """How a model does on the boards: inferences, errors, latency, confidence, answers."""
    import json
    from datetime import UTC, datetime, timedelta

    from litefleet_controller.cli.errors import UsageError
    from litefleet_controller.cli.printing import note, show
    from litefleet_controller.cli.rollouts import seconds

    if output not in ("table", "json"):
        raise UsageError(f"-o {output!r}: use table or json")
    params = {"slot": slot, "by": by}
    if since is not None:
        params["since"] = (datetime.now(UTC) - timedelta(seconds=seconds(since, "--since"))).isoformat()
    params |= {"version": version} if version else {}
    params |= {"class": device_class} if device_class else {}
    with current(context) as session:
        answer = session.client.get(session.fleet("telemetry"), params=params)
    if output == "json":
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    elif answer["items"]:
        show(table(answer["items"]))
    else:
        note(f"no telemetry of {slot!r}" + (f" in the last {since}" if since else ""))


def table(items: list[Json]) -> list[str]:
    """The rows as aligned lines; milliseconds and percent."""
    from litefleet_controller.cli.printing import columns, number, percent

    rows = [
        (
            i["class"] or "*",
            i["version"] or "*",
            "-" if i["devices"] is None else i["devices"],
            i["count"],
            percent(i["errorRate"], 2),
            i["dropped"],
            *(number(i["latencyMs"][q]) for q in ("p50", "p95", "p99")),
            number(i["confidence"]["mean"], 3),
            number(i["longestGapMs"], 1),
            ", ".join(f"{k} {percent(v, 0)}" for k, v in list(i["classShares"].items())[:_CLASSES_SHOWN]),
        )
        for i in items
    ]
    headers = ["Class", "Version", "Boards", "Inferences", "Errors", "Dropped", "p50 ms", "p95 ms", "p99 ms"]
    headers += ["Confidence", "Gap ms", "Answers"]
    return columns(headers, rows)
