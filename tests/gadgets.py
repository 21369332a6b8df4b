"""A kind from a CustomResourceDefinition that has replicas, which none of litefleet's kinds has."""

from typing import Any

_INTEGER = {"type": "integer", "minimum": 0}
CRD: dict[str, Any] = {
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Gadget", "plural": "gadgets", "singular": "gadget"},
        "versions": [
            {
                "name": "v1",
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"replicas": _INTEGER, "color": {"type": "string"}},
                            },
                            "status": {
                                "type": "object",
                                "properties": {"replicas": _INTEGER, "selector": {"type": "string"}},
                            },
                        },
                    }
                },
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
            }
        ],
    }
}
