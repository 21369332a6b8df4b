"""`litefleet describe`: one object as a person reads it; what is known of its kind first, events last."""

from collections.abc import Callable, Iterator
from typing import Any

from litefleet_controller.cli.apply import without_memory
from litefleet_controller.cli.candidates import candidate_lines
from litefleet_controller.cli.client import Client, Json
from litefleet_controller.cli.kinds import CliKind
from litefleet_controller.cli.prebuilt import prebuilt_line
from litefleet_controller.cli.printing import age, as_yaml, columns, percent, size

_EVENTS = 50


def describe(client: Client, kind: CliKind, namespace: str, name: str) -> list[str]:
    """The lines about one object.

    Raises:
        CliError: no such object.
    """
    body = client.get(kind.object(namespace, name))
    return [*lines(body), *_events(client, kind, namespace, body)]


def lines(body: Json) -> list[str]:
    """Everything but the events."""
    metadata = without_memory(body)["metadata"]
    status = dict(body.get("status") or {})
    text = [
        f"Name:        {metadata['name']}",
        *([f"Namespace:   {metadata['namespace']}"] if metadata.get("namespace") else []),
        f"Kind:        {body.get('kind', '')}",
        *_pairs("Labels:      ", metadata.get("labels")),
        *_pairs("Annotations: ", metadata.get("annotations")),
        f"Age:         {age(metadata.get('creationTimestamp'))}",
    ]
    if metadata.get("deletionTimestamp"):
        waits = ", ".join(metadata.get("finalizers") or [])
        text.append(f"Deleting:    for {age(metadata['deletionTimestamp'])}, waits for {waits}")
    text += [f"Owner:       {o['kind']}/{o['name']}" for o in metadata.get("ownerReferences") or []]
    if body.get("spec"):
        text += ["Spec:", *_indented(as_yaml(body["spec"]))]
    conditions = status.pop("conditions", None) or []
    for (kind, field), (title, table) in _SECTIONS.items():
        if kind == body.get("kind") and status.get(field):
            text += [f"{title}:", *_indented_all(table(status.pop(field)))]
    if status:
        text += ["Status:", *_indented(as_yaml(status))]
    return text + _conditions(conditions)


def _conditions(conditions: list[Json]) -> list[str]:
    if not conditions:
        return []
    rows = [
        (c["type"], c["status"], c.get("reason", ""), age(c.get("lastTransitionTime")), c.get("message", ""))
        for c in conditions
    ]
    return ["Conditions:", *_indented_all(columns(["Type", "Status", "Reason", "Since", "Message"], rows))]


def rollout_classes(classes: list[Json]) -> list[str]:
    """How a rollout goes for each class, as a table."""
    if not classes:
        return []
    rows = [
        (
            c["deviceClass"],
            c["state"],
            c.get("stable", ""),
            c.get("target", ""),
            c.get("recipe", ""),
            board_counts(c.get("counts") or {}),
            _because(c.get("cause", ""), c.get("message", "")),
        )
        for c in classes
    ]
    return columns(["Class", "State", "Stable", "Target", "Recipe", "Boards", "Message"], rows)


def _variants(classes: list[Json]) -> list[str]:
    """What a ModelVersion is for each class, and what it was refused as."""
    headers = ["Class", "State", "Recipe", "Size", "Agreement", "Accuracy", "Message"]
    text = columns(headers, [_class_variant(c) for c in classes])
    return (
        text
        + [
            f"{c['deviceClass']} refused {r['recipe']}: {r['message']} ({r['code']})"
            for c in classes
            if not c.get("choice")  # whose candidates say it
            for r in c.get("refusals") or []
        ]
        + [line for c in classes for line in candidate_lines(c)]
        + [line for c in classes for line in _closeness(c["deviceClass"], c.get("variant") or {})]
        + [line for c in classes for line in _pruning(c["deviceClass"], (c.get("variant") or {}).get("pruning") or {})]
        + [line for c in classes for line in _target(c["deviceClass"], (c.get("variant") or {}).get("target") or {})]
    )


def _closeness(device_class: str, variant: Json) -> Iterator[str]:
    """How far each output of a model that isn't a classifier is from the source's, in its own spread."""
    for o in variant.get("closeness") or []:
        noise = f"{o['sqnrDb']:.0f} dB" if "sqnrDb" in o else "no noise"
        yield (
            f"{device_class} output {o['output']}: off by {o['meanError']:.2g} of its spread ({o['spread']:.3g}) "
            f"on average, {o['worstError']:.2g} at worst; {noise}"
        )


def _pruning(device_class: str, pruning: Json) -> Iterator[str]:
    """What pruning took away, and what that saved."""
    if not pruning:
        return
    how = f"after {pruning['epochs']} epochs" if pruning.get("epochs") else "at once, without training"
    yield f"{device_class} pruned ({pruning['method']}): {percent(pruning['sparsity'])} of the weights gone, {how}"
    if plain := pruning.get("unpruned"):
        sizes = size(pruning["compressedBytes"]), size(plain["compressedBytes"])
        change = pruning.get("accuracyChange")
        cost = "" if change is None else f"; accuracy {change * 100:+.1f} points"
        yield f"  compressed {sizes[0]} against {sizes[1]} of {plain['recipe']}{cost}"


def _target(device_class: str, target: Json) -> Iterator[str]:
    """What was made for a class's accelerator, and what is foretold of it. Nothing of a processor: that runs it all."""
    if not target or target["name"] == "cpu":
        return
    yield f"{device_class} on {target['name']}: {_because(target['state'], target.get('message', ''))}"
    if compiled := target.get("compiled"):
        yield f"  compiled by {compiled['compiler']}: {compiled['mapped']} of {compiled['operators']} operators mapped"
    if prebuilt := target.get("prebuilt"):
        yield f"  {prebuilt_line(prebuilt)}"
    if predicted := target.get("predicted"):
        shares = percent(predicted["operatorShare"]), percent(predicted["macShare"])
        yield f"  predicted: {shares[0]} of the operators and {shares[1]} of the multiply-accumulates would run on it"
        for operator in predicted.get("fallbacks") or []:
            yield f"  predicted on the processor: {operator['count']} {operator['operator']}: {operator['reason']}"
        for operator in predicted.get("doubts") or []:
            yield f"  in doubt: {operator['count']} {operator['operator']}: {operator['reason']}"


def _class_variant(c: Json) -> tuple[Any, ...]:
    v = c.get("variant") or {}
    return (
        c["deviceClass"],
        c["state"],
        v.get("recipe", ""),
        size(v.get("sizeBytes")),
        percent(v.get("agreement")),
        percent(v.get("accuracy")),
        _because(c.get("code", ""), c.get("message", "")),
    )


def board_counts(counts: Json) -> str:
    """`3/5 updated, 1 failed`: what is worth saying of a class's boards."""
    said = f"{counts.get('updated', 0)}/{counts.get('total', 0)} updated"
    for field, word in (
        ("progressing", "in progress"),
        ("failed", "failed"),
        ("timedOut", "timed out"),
        ("offline", "offline"),
    ):
        if counts.get(field):
            said += f", {counts[field]} {word}"
    return said


def _slots(slots: list[Json]) -> list[str]:
    rows = [
        (
            s["slot"],
            s["phase"],
            s.get("currentVersion", ""),
            s.get("desiredVersion", ""),
            s.get("progress", ""),
            _because(s.get("code", ""), s.get("message", "")),
        )
        for s in slots
    ]
    return columns(["Slot", "Phase", "Current", "Desired", "Progress", "Message"], rows)


def _engines(engines: list[Json]) -> list[str]:
    rows = [
        (
            e["name"],
            e.get("version", ""),
            ", ".join(a["name"] for a in e.get("accelerators") or [] if not a.get("code")),
            "; ".join(
                said
                for said in (
                    _because(e.get("code", ""), e.get("message", "")),
                    *(
                        f"{a['name']}: {_because(a['code'], a.get('message', ''))}"
                        for a in e.get("accelerators") or []
                        if a.get("code")
                    ),
                )
                if said
            ),
        )
        for e in engines
    ]
    return columns(["Engine", "Version", "Runs on", "Message"], rows)


def history(revisions: list[Json]) -> list[str]:
    """A rollout's past, as a table."""
    if not revisions:
        return []
    rows = [
        (
            r["version"],
            r["deviceClass"],
            r["outcome"],
            age(r.get("finishedAt")),
            _because(r.get("cause", ""), r.get("message", "")),
        )
        for r in revisions
    ]
    return columns(["Version", "Class", "Outcome", "Ago", "Message"], rows)


_SECTIONS: dict[tuple[str, str], tuple[str, Callable[[list[Json]], list[str]]]] = {
    ("ModelRollout", "classes"): ("Classes", rollout_classes),
    ("ModelRollout", "history"): ("History", history),
    ("ModelVersion", "classes"): ("Classes", _variants),
    ("Device", "engines"): ("Engines", _engines),
    ("Device", "slots"): ("Slots", _slots),
}
"""(kind, field of its status) to the section's title and its table."""


def _events(client: Client, kind: CliKind, namespace: str, body: Json) -> Iterator[str]:
    if not kind.namespaced or kind.kind == "Event":
        return
    of = f"involvedObject.kind={kind.kind},involvedObject.name={body['metadata']['name']}"
    params = {"fieldSelector": of, "limit": str(_EVENTS)}
    items = client.get(f"/api/v1/namespaces/{namespace}/events", params=params).get("items") or []
    if not items:
        yield "Events:      <none>"
        return
    items.sort(key=lambda e: e.get("lastTimestamp") or e.get("firstTimestamp") or "")
    rows = [
        (
            e.get("type", ""),
            e.get("reason", ""),
            age(e.get("lastTimestamp") or e.get("firstTimestamp")) + _times(e),
            e.get("message", ""),
        )
        for e in items
    ]
    yield "Events:"
    yield from _indented_all(columns(["Type", "Reason", "Age", "Message"], rows))


def _times(event: Json) -> str:
    return f" (x{event['count']})" if event.get("count", 1) > 1 else ""


def _pairs(title: str, values: dict[str, str] | None) -> list[str]:
    pairs = [f"{k}={v}" for k, v in (values or {}).items()] or ["<none>"]
    return [title + pairs[0], *(" " * len(title) + p for p in pairs[1:])]


def _because(code: str, message: str) -> str:
    return f"{code}: {message}" if code and message else code or message


def _indented(text: str) -> list[str]:
    return _indented_all(text.splitlines())


def _indented_all(text: list[str]) -> list[str]:
    return [f"  {line}" for line in text]
