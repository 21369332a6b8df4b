"""What `litefleet describe` says of a version: for an accelerator, and of pruning."""

from litefleet_controller.cli.describing import lines


def described(target: dict[str, object] | None, pruning: dict[str, object] | None = None) -> list[str]:
    variant = {"recipe": "int8", "sizeBytes": 1000, "agreement": 1.0, "target": target, "pruning": pruning}
    status = {"classes": [{"deviceClass": "coral", "state": "Ready", "variant": variant}]}
    body = {"kind": "ModelVersion", "metadata": {"name": "digits-v1"}, "status": status}
    return [line.strip() for line in lines(body)]


def test_an_accelerator_is_said_with_its_shares_and_what_falls_back() -> None:
    fallbacks = [
        {"operator": "LEAKY_RELU", "count": 2, "code": "Unsupported", "reason": "the Edge TPU doesn't have it"}
    ]
    doubts = [{"operator": "TRANSPOSE", "count": 1, "code": "", "reason": "its limits are not known here"}]
    predicted = {"operatorShare": 0.25, "macShare": 0.5, "fallbacks": fallbacks, "doubts": doubts}
    compiled = {"compiler": "16.0", "operators": 12, "mapped": 11}
    said = described(
        {"name": "edgetpu", "state": "Missing", "message": "why", "predicted": predicted, "compiled": compiled}
    )
    assert "coral on edgetpu: Missing: why" in said
    assert "compiled by 16.0: 11 of 12 operators mapped" in said
    assert "predicted: 25.0% of the operators and 50.0% of the multiply-accumulates would run on it" in said
    assert "predicted on the processor: 2 LEAKY_RELU: the Edge TPU doesn't have it" in said
    assert "in doubt: 1 TRANSPOSE: its limits are not known here" in said


def test_a_file_that_was_compiled_elsewhere_is_said_with_what_it_says_of_itself() -> None:
    prebuilt = {"programs": 1, "programBytes": 2048, "left": {"DEQUANTIZE": 1, "QUANTIZE": 2}, "runtimeVersion": 12}
    target = {"name": "edgetpu", "state": "Available", "message": "not run here", "prebuilt": prebuilt}
    said = described(target)
    assert "coral on edgetpu: Available: not run here" in said
    assert (
        "compiled by a compiler that it doesn't name: 1 operators for the accelerator (2.0 KiB), 1 DEQUANTIZE, "
        "2 QUANTIZE on the processor; needs its runtime 12 or newer"
    ) in said
    named = described(target | {"prebuilt": prebuilt | {"compiler": "16.0", "left": {}}})
    assert any(line.startswith("compiled by compiler 16.0: ") and "nothing on the processor" in line for line in named)


def test_nothing_is_said_of_a_processor_or_of_an_older_version_without_a_target() -> None:
    assert not [
        line for target in (None, {"name": "cpu", "state": "Available"}) for line in described(target) if " on " in line
    ]


def test_a_pick_is_said_with_its_reason_and_every_candidate() -> None:
    candidates = [
        {
            "recipe": "int8", "verdict": "Picked", "why": "smallest", "sizeBytes": 2048, "agreement": 0.99,
            "accuracy": 0.97, "activationBytes": 512, "hint": {"p50Ms": 0.05}, "boards": {"p50Ms": 1.5},
        },
        {"recipe": "float32", "verdict": "Dominated", "why": "float16 is smaller, and worse in nothing"},
        {"recipe": "mixed-int8", "verdict": "Refused", "code": "CalibrationMissing", "why": "set spec.calibration"},
    ]  # fmt: skip
    entry = {
        "deviceClass": "pi", "state": "Ready", "variant": {"recipe": "int8"}, "candidates": candidates,
        "choice": {"objective": "size", "reason": "int8 is the smallest", "others": ["float16"], "latencyFrom": "Nowhere"},
        "refusals": [{"recipe": "mixed-int8", "code": "CalibrationMissing", "message": "set spec.calibration"}],
    }  # fmt: skip
    body = {"kind": "ModelVersion", "metadata": {"name": "digits-v1"}, "status": {"classes": [entry]}}
    said = [line.strip() for line in lines(body)]
    assert "pi picked by size: int8 is the smallest" in said
    assert "in its place, the best first: float16" in said
    row = next(line for line in said if line.startswith("* "))
    assert row.split() == ["*", "int8", "2.0", "KiB", "99.0%", "97.0%", "512", "B", "0.050", "1.500", "picked"]
    assert any(line.endswith("float16 is smaller, and worse in nothing") for line in said)
    assert len([line for line in said if "set spec.calibration" in line]) == 1


def test_pruning_is_said_with_what_it_saved_and_cost() -> None:
    plain = {"recipe": "int8", "compressedBytes": 52_203}
    pruning = {"method": "magnitude", "sparsity": 0.75, "compressedBytes": 30_100, "accuracyChange": -0.005}
    said = described(None, {**pruning, "epochs": 8, "unpruned": plain})
    assert "coral pruned (magnitude): 75.0% of the weights gone, after 8 epochs" in said
    assert "compressed 29.4 KiB against 51.0 KiB of int8; accuracy -0.5 points" in said
    assert "coral pruned (magnitude): 75.0% of the weights gone, at once, without training" in described(None, pruning)


def test_a_boards_engines_are_said_with_what_they_run_on_and_what_fails() -> None:
    failed = {"name": "edgetpu", "code": "AcceleratorFailed", "message": "no stick"}
    engines = [
        {"name": "litert", "version": "2.3.0", "accelerators": [{"name": "cpu", "description": "x"}, failed]},
        {"name": "openvino", "code": "RuntimeBroken", "message": "killed by SIGILL"},
    ]
    body = {"kind": "Device", "metadata": {"name": "pi-1"}, "status": {"engines": engines}}
    said = [" ".join(line.split()) for line in lines(body)]
    assert "litert 2.3.0 cpu edgetpu: AcceleratorFailed: no stick" in said
    assert "openvino RuntimeBroken: killed by SIGILL" in said


def test_each_output_of_a_model_that_is_no_classifier_is_said_with_its_errors() -> None:
    boxes = {"output": "boxes", "spread": 23.5, "meanError": 0.044, "worstError": 0.076, "sqnrDb": 27.3}
    exact = {"output": "scores", "spread": 1.0, "meanError": 0.0, "worstError": 0.0}
    variant = {"recipe": "int8", "closeness": [boxes, exact]}
    status = {"classes": [{"deviceClass": "pi", "state": "Ready", "variant": variant}]}
    said = [
        line.strip() for line in lines({"kind": "ModelVersion", "metadata": {"name": "faces-v1"}, "status": status})
    ]
    assert "pi output boxes: off by 0.044 of its spread (23.5) on average, 0.076 at worst; 27 dB" in said
    assert "pi output scores: off by 0 of its spread (1) on average, 0 at worst; no noise" in said
