"""From a conversion's outcome to what a ModelVersion's status says of it. Pure."""

from collections.abc import Sequence
from typing import Literal

from litefleet_controller.convert.interface import Made, Outcome, Pick, Provenance, Weighed
from litefleet_controller.convert.latency import Hint, Seen
from litefleet_controller.convert.pruned import PrunedVariant, Unpruned
from litefleet_controller.convert.targets.interface import Targeted
from litefleet_controller.resources.variant import (
    Candidate,
    ClassVariant,
    Latency,
    OutputCloseness,
    PrunedLayer,
    Refusal,
    TargetCompilation,
    TargetOperator,
    TargetPrebuilt,
    TargetPrediction,
    TensorStatus,
    UnprunedVariant,
    Variant,
    VariantChoice,
    VariantFile,
    VariantProvenance,
    VariantPruning,
    VariantTarget,
)
from litefleet_protocol.tensors import TensorSpec

_SHOWN_REASONS = 5
"""Reasons that a status has room for, of each kind."""
_SHOWN_LAYERS = 64
"""Pruned layers that it has room for."""
Phase = Literal["Pending", "Converting", "Ready", "PartlyRefused", "Refused", "Failed"]


def class_variant(device_class: str, generation: int, outcome: Outcome, artifact: str) -> ClassVariant:
    """The entry of a class once its request was decided."""
    refusals = [Refusal(recipe=r.recipe, code=r.code, message=r.message) for r in outcome.refused]
    if outcome.made is None:
        return ClassVariant(
            device_class=device_class,
            state="Refused",
            class_generation=generation,
            code=refusals[0].code if refusals else "NoVariant",
            # What the source itself rules out is the same for several rungs.
            message="; ".join(dict.fromkeys(r.message for r in refusals)) or "no rung of the ladder could be made",
            refusals=refusals,
            candidates=[_candidate(w) for w in outcome.weighed],
        )
    return ClassVariant(
        device_class=device_class,
        state="Ready",
        class_generation=generation,
        percent=100,
        variant=variant(outcome.made, artifact),
        refusals=refusals,
        candidates=[_candidate(w) for w in outcome.weighed],
        choice=_choice(outcome.pick) if outcome.pick is not None else None,
        message=_ready_message(outcome.made, refusals, outcome.pick),
    )


def _choice(pick: Pick) -> VariantChoice:
    return VariantChoice(
        objective=pick.objective, reason=pick.reason, latency_from=pick.latency_from, others=list(pick.others)
    )


def _candidate(w: Weighed) -> Candidate:
    if w.model is None:
        return Candidate(recipe=w.recipe, verdict=w.verdict, why=w.why, code=w.code)
    return Candidate(
        recipe=w.recipe,
        verdict=w.verdict,
        why=w.why,
        code=w.code,
        digest=w.model,
        size_bytes=w.size,
        agreement=w.agreement,
        accuracy=w.accuracy,
        activation_bytes=w.activations,
        hint=_hint(w.hint) if w.hint is not None else None,
        boards=_boards(w.boards) if w.boards is not None else None,
        examination=w.examination,
    )


def _hint(hint: Hint) -> Latency:
    return Latency(
        p50_ms=hint.p50_ms,
        p99_ms=hint.p99_ms,
        inferences=hint.inferences,
        processor=f"{hint.processor} ({hint.machine})",
    )


def _boards(seen: Seen) -> Latency:
    return Latency(
        p50_ms=round(seen.p50_ms, 6),
        p99_ms=round(seen.p99_ms, 6),
        inferences=seen.inferences,
        version=seen.version,
        devices=seen.devices,
    )


def variant(made: Made, artifact: str) -> Variant:
    """What passed, with its numbers."""
    return Variant(
        recipe=made.recipe,
        artifact=artifact,
        runtime=made.engine,
        digest=made.model,
        size_bytes=made.size,
        files=[VariantFile(name=f.name, digest=f.digest, size_bytes=f.size) for f in made.files],
        agreement=made.agreement,
        closeness=[
            OutputCloseness(
                output=o.output,
                spread=o.spread,
                mean_error=o.mean_error,
                worst_error=o.worst_error,
                sqnr_db=o.sqnr_db,
            )
            for o in made.closeness
        ],
        accuracy=made.accuracy,
        source_accuracy=made.source_accuracy,
        operators=made.operators,
        inputs=[_tensor(t) for t in made.signature.inputs],
        outputs=[_tensor(t) for t in made.signature.outputs],
        golden_samples=made.golden_samples,
        target=_target(made.target) if made.target is not None else None,
        pruning=_pruning(made.pruned, made.accuracy) if made.pruned is not None else None,
        toolchain=made.toolchain,
        provenance=_provenance(made.provenance) if made.provenance is not None else None,
        notes=list(made.notes),
        cached=made.cached,
        seconds=round(made.seconds, 3),
    )


def _provenance(p: Provenance) -> VariantProvenance:
    return VariantProvenance(
        statement=p.statement,
        source=p.source,
        recipe=p.recipe,
        frozen=p.frozen,
        evaluation=p.evaluation,
        calibration=p.calibration,
        training=p.training,
        prebuilt=p.prebuilt,
        started_at=p.started,
        finished_at=p.finished,
    )


def _pruning(made: PrunedVariant, accuracy: float | None) -> VariantPruning:
    pruned, plain = made.pruned, made.unpruned
    return VariantPruning(
        method=pruned.method,
        sparsity=pruned.sparsity,
        layers=[
            PrunedLayer(name=layer.name, weights=layer.weights, sparsity=layer.sparsity)
            for layer in pruned.layers[:_SHOWN_LAYERS]
        ],
        layers_left_out=max(0, len(pruned.layers) - _SHOWN_LAYERS),
        epochs=pruned.epochs,
        samples=pruned.samples,
        seed=pruned.seed,
        compressed_bytes=made.compressed,
        unpruned=UnprunedVariant(
            recipe=plain.recipe,
            size_bytes=plain.size,
            compressed_bytes=plain.compressed,
            agreement=plain.agreement,
            accuracy=plain.accuracy,
        )
        if plain is not None
        else None,
        accuracy_change=_change(plain, accuracy),
    )


def _change(plain: Unpruned | None, accuracy: float | None) -> float | None:
    """None where there is nothing to compare with, or no accuracy."""
    if plain is None or plain.accuracy is None or accuracy is None:
        return None
    return accuracy - plain.accuracy


def _target(target: Targeted) -> VariantTarget:
    p, c, f = target.prediction, target.compilation, target.findings
    return VariantTarget(
        name=target.name,
        state=target.state,
        message=target.message,
        predicted=TargetPrediction(
            operator_share=p.operator_share,
            mac_share=p.mac_share,
            fallbacks=[
                TargetOperator(operator=name, count=n, code=code, reason=reason)
                for name, n, code, reason in p.fallbacks(_SHOWN_REASONS)
            ],
            doubts=[
                TargetOperator(operator=name, count=n, reason=doubt) for name, n, doubt in p.doubts(_SHOWN_REASONS)
            ],
        )
        if p is not None
        else None,
        compiled=TargetCompilation(
            compiler=c.log.version,
            operators=c.log.operators,
            mapped=c.log.mapped,
            runtime_version=c.runtime_version,
        )
        if c is not None
        else None,
        prebuilt=TargetPrebuilt(
            programs=f.programs,
            program_bytes=f.program_bytes,
            left=f.left,
            compiler=f.compiler,
            runtime_version=f.runtime_version,
        )
        if f is not None
        else None,
    )


def phase_of(entries: Sequence[ClassVariant]) -> tuple[Phase, str]:
    """A version's phase, and one sentence that says what it waits for or how it ended."""
    if not entries:
        return "Pending", "waiting for a board to be enrolled: variants are made for the classes in use"
    open_ = [e for e in entries if e.state in ("Pending", "Converting")]
    if open_:
        doing = ", ".join(f"{e.device_class} ({e.stage} {e.percent}%)" if e.stage else e.device_class for e in open_)
        return "Converting", f"converting for {doing}"
    ready = [e for e in entries if e.state == "Ready"]
    rest = [e for e in entries if e.state != "Ready"]
    if not rest:
        return "Ready", "; ".join(f"{e.device_class}: {e.message}" for e in ready)
    said = "; ".join(f"{e.device_class}: {e.code}: {e.message}" for e in rest)
    if ready:
        return "PartlyRefused", f"refused for {said}"
    return ("Failed" if all(e.state == "Failed" for e in rest) else "Refused"), said


def _ready_message(made: Made, refusals: Sequence[Refusal], pick: Pick | None) -> str:
    if made.agreement is None:
        return f"{made.recipe}, {made.size} bytes, {made.target.message if made.target else 'not run here'}"
    text = (
        f"{made.recipe}, {made.size} bytes, agrees with the source on {made.agreement:.1%} of {made.evaluated} samples"
    )
    if pick is not None:
        return f"{text}; picked for {pick.objective}: {pick.reason}"
    if refusals:
        text += "; refused before it: " + "; ".join(f"{r.recipe} ({r.code}: {r.message})" for r in refusals)
    return text


def _tensor(spec: TensorSpec) -> TensorStatus:
    q = spec.quantization
    return TensorStatus(
        name=spec.name,
        shape=list(spec.shape),
        dtype=spec.dtype,
        scale=q.scale if q else None,
        zero_point=q.zero_point if q else None,
    )
