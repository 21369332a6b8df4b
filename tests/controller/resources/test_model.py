"""What a Model may say of where it comes from."""

import pytest

from litefleet_controller.resources.admission import InvalidError, admit
from litefleet_controller.resources.registry import Registry

KIND = Registry().kind("Model")
BLOB = f"blob://sha256:{'0' * 64}"


def model(**source):
    spec = {"source": {"uri": BLOB, **source}, "evaluation": {"uri": BLOB}}
    return {"metadata": {"name": "digits"}, "spec": spec}


def causes(body):
    with pytest.raises(InvalidError) as caught:
        admit(KIND, body, None)
    return {(c.field, c.code) for c in caught.value.causes if c.field != "<nil>"}


def test_a_saved_model_may_name_a_signature():
    admit(KIND, model(format="savedModel", signature="classify"), None)


def test_credentials_are_not_repeated():
    with pytest.raises(InvalidError) as caught:
        admit(KIND, model(uri="https://me:hunter2@models.test/m"), None)
    assert "hunter2" not in str(caught.value)
    assert causes(model(uri="https://me:hunter2@models.test/m")) == {("spec.source.uri", "CredentialsInManifest")}


@pytest.mark.parametrize("source", [{"signature": "classify"}, {"format": "tflite", "signature": "classify"}])
def test_a_signature_without_a_saved_model_is_refused(source):
    assert causes(model(**source)) == {("spec.source", "Invalid")}


def raw(kind="none", **evaluation):
    body = model()
    body["spec"]["output"] = {"postprocess": {"kind": kind}}
    body["spec"]["evaluation"] |= evaluation
    return body


@pytest.mark.parametrize(
    "body",
    [
        raw(),
        raw(metric="closeness"),
        raw(metric="closeness", tolerance=0.05),
        raw("classification"),
        raw("classification", metric="accuracy"),
    ],
)
def test_the_metric_goes_with_the_kind_of_outputs_and_needs_not_be_written(body):
    admit(KIND, body, None)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            raw(metric="accuracy"),
            "metric accuracy doesn't go with output.postprocess.kind none: write metric: closeness",
        ),
        (raw("classification", metric="closeness"), "kind classification: write metric: accuracy"),
        (raw("classification", tolerance=0.1), "tolerance is for metric closeness"),
    ],
)
def test_another_metric_is_refused_with_what_to_write(body, says):
    with pytest.raises(InvalidError, match=says):
        admit(KIND, body, None)
    assert causes(body) == {("spec.evaluation", "Invalid")}


def test_a_tolerance_is_a_share():
    for tolerance in (0, -1, 1.5):
        assert causes(raw(tolerance=tolerance)) == {("spec.evaluation.tolerance", "OutOfRange")}


def test_training_is_for_classifiers():
    body = raw()
    body["spec"]["training"] = {"uri": BLOB}
    assert causes(body) == {("spec.training", "Invalid")}


@pytest.mark.parametrize("shape", [[], [0], [1760, -1], [1] * 8])
def test_an_inputs_dimensions_are_one_to_seven_numbers(shape):
    body = model()
    body["spec"]["input"] = {"shape": shape}
    assert {field.partition("[")[0] for field, _ in causes(body)} == {"spec.input.shape"}


def compiled(**prebuilt):
    body = model()
    body["spec"]["prebuilt"] = prebuilt
    return body


def test_a_compiled_file_is_named_like_any_other():
    for file in (
        {"uri": BLOB},
        {"uri": "https://models.test/x_edgetpu.tflite", "digest": f"sha256:{'1' * 64}"},
        {"uri": BLOB, "tolerance": 0.2},
    ):
        admit(KIND, compiled(edgetpu=file), None)


@pytest.mark.parametrize(
    ("prebuilt", "cause"),
    [
        ({"myriad": {"uri": BLOB}}, ("spec.prebuilt.myriad", "UnknownField")),
        ({"edgetpu": {}}, ("spec.prebuilt.edgetpu.uri", "Required")),
        ({"edgetpu": {"uri": "ftp://models.test/x"}}, ("spec.prebuilt.edgetpu.uri", "InvalidUri")),
        (
            {"edgetpu": {"uri": "https://me:secret@models.test/x"}},
            ("spec.prebuilt.edgetpu.uri", "CredentialsInManifest"),
        ),
        ({"edgetpu": {"uri": BLOB, "digest": "sha256:1"}}, ("spec.prebuilt.edgetpu.digest", "Invalid")),
        ({"edgetpu": {"uri": BLOB, "tolerance": 0}}, ("spec.prebuilt.edgetpu.tolerance", "OutOfRange")),
    ],
)
def test_a_compiled_file_that_cannot_be_fetched_or_judged_is_refused_by_its_field(prebuilt, cause):
    assert causes(compiled(**prebuilt)) == {cause}
