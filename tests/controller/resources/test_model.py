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
