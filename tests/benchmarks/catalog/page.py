"""The catalog as a page. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from litefleet_controller.convert.interface import MAX_EVALUATED

Json = dict[str, Any]

_HELPERS = ("paired-", "auto-")
_PAIRED = (
    "The same trained model through TFLiteConverter, calibrated on the same images, and both sides' files run by the same LiteRT over all\n"
    "{:,} test images. Only ours: images that ours answers as the source does and theirs doesn't."
)


@dataclass(frozen=True)
class Entry:
    """What became of one architecture."""

    name: str
    training_s: float
    source_mb: float
    classes: Mapping[str, Json]
    """Class to its entry in the ModelVersion's status."""
    theirs: Mapping[str, Json]
    """Recipe to what TFLiteConverter made, and both sides' answers to all images: see tflite_side.py."""
    pairs: Sequence[str]

    @property
    def source_accuracy(self) -> float | None:
        """Of the trained model on the evaluation images, as far as any variant tells."""
        variants = (c.get("variant") or {} for c in self.classes.values())
        return next((v["sourceAccuracy"] for v in variants if v.get("sourceAccuracy") is not None), None)


def draw(entries: Sequence[Entry], evaluated: int, seed: int) -> str:
    """Markdown."""
    text = [
        "# Catalog",
        "",
        "Every architecture of `litefleet model new` for every class of board in `manifests/classes/`, each built, trained,",
        "converted and checked by a running controller. Written by `make bench-catalog`; what a cell says is what the",
        "ModelVersion's status said.",
        "",
        f"The models take 28x28 grey pixels at width 1 and were trained for a few minutes on handwritten digits (MNIST, seed {seed}):",
        "long enough to tell good variants from bad ones, not to be good. Agreement is the share of the first",
        f"{min(evaluated, MAX_EVALUATED):,} of MNIST's test images that a variant answers as its source does: a controller evaluates no more. Training",
        "saw none of them. No board took part: nothing here is a latency on one.",
        "",
        "## At a glance",
        "",
        _glance(entries),
    ]
    for entry in entries:
        text += ["", f"## {entry.name}", "", _introduction(entry), "", *_table(entry)]
        text += ["", "Chosen by measurement (`variants: [auto]`, limits as they are by default):", "", *_choices(entry)]
    text += ["", "## Beside TFLiteConverter", "", _PAIRED.format(evaluated), "", *_paired(entries), ""]
    return "\n".join(text)


def _boards(entry: Entry) -> list[str]:
    return sorted(name for name in entry.classes if not name.startswith(_HELPERS))


def _glance(entries: Sequence[Entry]) -> str:
    rows = ["| class | " + " | ".join(e.name for e in entries) + " |", "|---" * (len(entries) + 1) + "|"]
    rows += [
        f"| {name} | " + " | ".join(_cell(e.classes[name]) for e in entries) + " |" for name in _boards(entries[0])
    ]
    return "\n".join(rows)


def _cell(decided: Json) -> str:
    variant = decided.get("variant")
    if not variant:
        return f"{decided['state']}: {decided.get('code', '')}"
    return f"{variant['recipe']}, {_kilobytes(variant['sizeBytes'])}, {_percent(variant['agreement'])}"


def _introduction(entry: Entry) -> str:
    accuracy = entry.source_accuracy
    known = f"; it answers {_percent(accuracy)} of the test images right" if accuracy is not None else ""
    return f"Trained for {entry.training_s:.0f} s, {entry.source_mb:.1f} MB as `.keras`{known}."


def _table(entry: Entry) -> list[str]:
    rows = [
        "| class | variant | size | agreement | accuracy | the rungs before it, the accelerator |",
        "|---|---|---|---|---|---|",
    ]
    for name in _boards(entry):
        decided = entry.classes[name]
        variant, remarks = decided.get("variant"), [_refusal(r) for r in decided.get("refusals", [])]
        if variant is None:
            rows.append(f"| {name} | none ({decided['state']}) | | | | {_text(decided.get('message', ''))} |")
            continue
        remarks += _accelerator(variant.get("target"))
        rows.append(
            f"| {name} | {variant['recipe']} | {_kilobytes(variant['sizeBytes'])} | {_percent(variant['agreement'])} "
            f"| {_percent(variant['accuracy'])} | {'; '.join(remarks)} |"
        )
    return rows


def _refusal(refused: Json) -> str:
    return f"{refused['recipe']} refused ({refused['code']}): {_text(refused['message'])}"


def _accelerator(target: Json | None) -> list[str]:
    if target is None:
        return []
    remarks = [f"{target['name']}: {target['state']}"]
    predicted = target.get("predicted")
    if predicted:
        remarks.append(
            f"predicted, not measured: {_percent(predicted['operatorShare'])} of the operators, "
            f"{_percent(predicted['macShare'])} of the multiply-accumulates on it"
        )
        remarks += [
            f"{f['count']} {f['operator']} not: {_text(f['reason'])}" for f in predicted.get("fallbacks", [])[:2]
        ]
    elif target.get("message"):
        remarks.append(_text(target["message"]))
    return remarks


def _choices(entry: Entry) -> list[str]:
    lines = []
    for name in sorted(n for n in entry.classes if n.startswith("auto-")):
        decided = entry.classes[name]
        said = (decided.get("choice") or {}).get("reason") or decided.get("message", "")
        lines.append(f"- `objective: {name.removeprefix('auto-')}`: {said}")
    return lines


def _paired(entries: Sequence[Entry]) -> list[str]:
    rows = [
        "| model | recipe | size, of theirs | agreement | theirs | only ours | only theirs |",
        "|---|---|---|---|---|---|---|",
    ]
    for entry in entries:
        for recipe in entry.pairs:
            ours, theirs = entry.classes[f"paired-{recipe}"]["variant"], entry.theirs[recipe]
            rows.append(
                f"| {entry.name} | {recipe} | {ours['sizeBytes'] / theirs['size']:.3f} | {_percent(theirs['ours'])} "
                f"| {_percent(theirs['agreement'])} | {theirs['only_ours']} | {theirs['only_theirs']} |"
            )
    return rows


def _kilobytes(size: int) -> str:
    return f"{size / 1000:,.0f} kB"


def _percent(share: float) -> str:
    return f"{share * 100:.2f} %"


def _text(message: str) -> str:
    """In a table's cell."""
    return message.replace("|", "\\|").replace("\n", " ")
