"""Kinds made of CustomResourceDefinitions."""

import pytest

from litefleet_controller.resources.admission import admit, check_status
from litefleet_controller.resources.causes import InvalidError
from litefleet_controller.resources.crd import kind_from_crd
from litefleet_controller.resources.kind import Column, Scale
from litefleet_controller.resources.schema import SchemaError

CRD = {
    "spec": {
        "group": "example.dev",
        "scope": "Cluster",
        "names": {"kind": "Widget", "plural": "widgets", "shortNames": ["wd"], "categories": ["all"]},
        "versions": [
            {"name": "v1beta1", "schema": {}},
            {
                "name": "v1",
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                },
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size", "priority": 1}
                ],
                "selectableFields": [{"jsonPath": ".spec.size"}],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"size": {"type": "integer", "default": 3, "maximum": 9}},
                                "x-kubernetes-validations": [{"rule": "self.size != 5", "message": "never five"}],
                            },
                            "status": {"type": "object", "properties": {"n": {"type": "integer"}}},
                        },
                    }
                },
            },
        ],
    }
}


def test_a_crd_says_all_that_a_kind_is():
    kind = kind_from_crd(CRD)
    assert (kind.kind, kind.plural, kind.singular, kind.api_version) == (
        "Widget",
        "widgets",
        "widget",
        "example.dev/v1",
    )
    assert (kind.short_names, kind.categories, kind.namespaced, kind.has_status) == (("wd",), ("all",), False, True)
    assert kind.columns == (Column("Size", ".spec.size", "integer", "", 1),)
    assert kind.selectable_fields == (".spec.size",)
    assert kind.scale == Scale(".spec.replicas", ".status.replicas")


def test_its_objects_are_admitted_by_its_schema_alone():
    kind = kind_from_crd(CRD)
    assert admit(kind, {"metadata": {"name": "a.b"}, "spec": {}}, None)["spec"] == {"size": 3}
    assert "spec" not in admit(kind, {"metadata": {"name": "a"}}, None)
    with pytest.raises(InvalidError, match="never five"):
        admit(kind, {"metadata": {"name": "a"}, "spec": {"size": 5}}, None)


def test_a_broken_status_says_that_rules_were_not_checked():
    with pytest.raises(InvalidError) as caught:
        check_status(kind_from_crd(CRD), "a", {"n": "x"})
    assert [c.field for c in caught.value.causes] == ["status.n", "<nil>"]


@pytest.mark.parametrize("document", [{}, {"spec": {"names": {}, "versions": []}}, {"spec": None}])
def test_what_is_no_crd_is_refused(document):
    with pytest.raises(SchemaError, match="no CustomResourceDefinition"):
        kind_from_crd(document)
