"""What `litefleet describe` says of a version for an accelerator."""

from litefleet_controller.cli.describing import lines


def described(target: dict[str, object] | None) -> list[str]:
    variant = {"recipe": "int8", "sizeBytes": 1000, "agreement": 1.0, "target": target}
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


def test_nothing_is_said_of_a_processor_or_of_an_older_version_without_a_target() -> None:
    assert not [
        line for target in (None, {"name": "cpu", "state": "Available"}) for line in described(target) if " on " in line
    ]
