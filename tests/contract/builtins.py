"""Two of Kubernetes' own kinds, for the replay of its recorded answers: litefleet serves neither.

They show that the machinery is generic, and make litefleet's API a double of an API server that has Leases and Jobs.
Only the fields that litefleet has to do with are declared. Source: Kubernetes' API reference (Lease v1, Job v1 batch)
and the rules of its validation of Jobs. `suspend` is what the Job controller does to a suspended Job.
"""

from typing import Any

from litefleet_controller.resources.causes import Cause, Reason
from litefleet_controller.resources.kind import Json, Kind
from litefleet_controller.resources.schema import compile_schema
from litefleet_controller.resources.values import shown

_TEXT = {"type": "string"}
_NUMBER = {"type": "integer", "format": "int32"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}


def _object(**properties: Json) -> Json:
    return {"type": "object", "properties": properties}


def _keyed(item: Json, key: str) -> Json:
    return {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def _cause(field: str, reason: Reason, message: str) -> Cause:
    return Cause(field, reason, message, "Invalid")


def _judge_lease(_old: Json | None, lease: Json) -> list[Cause]:
    seconds = lease["spec"].get("leaseDurationSeconds", 1)
    if seconds > 0:
        return []
    text = f"Invalid value: {seconds}: must be greater than 0"
    return [_cause("spec.leaseDurationSeconds", "FieldValueInvalid", text)]


LEASE = Kind(
    "Lease", "leases", "lease",
    compile_schema(
        _object(
            spec=_object(
                holderIdentity=_TEXT, leaseDurationSeconds=_NUMBER, acquireTime=_TEXT, renewTime=_TEXT,
                leaseTransitions=_NUMBER,
            )
        ),
        embedded=True, structs=True,
    ),
    categories=(), label_names=False, has_status=False, group="coordination.k8s.io", version="v1",
    builtin=True, has_generation=False, judge=_judge_lease,
)  # fmt: skip

_CONTAINER = _object(
    name=_TEXT,
    image=_TEXT,
    resources={"type": "object", "default": {}, "x-kubernetes-preserve-unknown-fields": True},
    terminationMessagePath={**_TEXT, "default": "/dev/termination-log"},
    terminationMessagePolicy={**_TEXT, "default": "File"},
    imagePullPolicy={**_TEXT, "default": "IfNotPresent"},
)
_POD = _object(
    containers=_keyed(_CONTAINER, "name"),
    restartPolicy=_TEXT,
    terminationGracePeriodSeconds={**_NUMBER, "default": 30},
    dnsPolicy={**_TEXT, "default": "ClusterFirst"},
    securityContext={"type": "object", "default": {}, "x-kubernetes-preserve-unknown-fields": True},
    schedulerName={**_TEXT, "default": "default-scheduler"},
)
_SPEC = _object(
    parallelism={**_NUMBER, "default": 1},
    completions={**_NUMBER, "default": 1},
    backoffLimit={**_NUMBER, "default": 6},
    completionMode={**_TEXT, "default": "NonIndexed"},
    suspend={"type": "boolean", "default": False},
    manualSelector={"type": "boolean", "default": False},
    podReplacementPolicy={**_TEXT, "default": "TerminatingOrFailed"},
    selector=_object(matchLabels=_TEXTS),
    template=_object(metadata=_object(labels=_TEXTS), spec=_POD),
)
_CONDITION = _object(
    **dict.fromkeys(("type", "status", "reason", "message", "lastProbeTime", "lastTransitionTime"), _TEXT)
)
_STATUS = _object(
    **dict.fromkeys(("startTime", "completionTime"), _TEXT),
    **dict.fromkeys(("active", "succeeded", "failed", "terminating", "ready"), _NUMBER),
    uncountedTerminatedPods={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    conditions={"type": "array", "items": _CONDITION},
)


def _complete_job(job: Json) -> Json:
    """With the labels by which its pods are found."""
    metadata, spec = job["metadata"], job["spec"]
    labels = {
        f"{prefix}{name}": value
        for prefix in ("batch.kubernetes.io/", "")
        for name, value in (("controller-uid", metadata["uid"]), ("job-name", metadata["name"]))
    }
    owner = "batch.kubernetes.io/controller-uid"
    template = spec["template"]
    named = {**template, "metadata": {"labels": {**template.get("metadata", {}).get("labels", {}), **labels}}}
    selector = {"matchLabels": {owner: labels[owner]}}
    return {
        **job,
        "metadata": {**metadata, "labels": {**metadata.get("labels", {}), **labels}},
        "spec": {**spec, "template": named, "selector": selector},
        "status": job.get("status", {}),
    }


def _judge_job(old: Json | None, job: Json) -> list[Cause]:
    template = job["spec"].get("template") or {}
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy not in ("OnFailure", "Never"):
        text = 'Required value: valid values: "OnFailure", "Never"'
        return [_cause("spec.template.spec.restartPolicy", "FieldValueRequired", text)]
    if old is not None and template != old["spec"]["template"]:
        text = f"Invalid value: {shown(template)}: field is immutable"
        return [_cause("spec.template", "FieldValueInvalid", text)]
    return [] if old is None else _judge_status(old.get("status") or {}, job.get("status") or {})


def _judge_status(old: Json, new: Json) -> list[Cause]:
    if old == new:
        return []
    before, after = _true(old), _true(new)
    causes: list[Cause] = []
    if "Complete" in after:
        if not new.get("completionTime"):
            text = "Required value: completionTime is required for Complete jobs"
            causes.append(_cause("status.completionTime", "FieldValueRequired", text))
        if "SuccessCriteriaMet" not in after:
            text = "Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition"
            causes.append(_cause("status.conditions", "FieldValueInvalid", text))
    elif new.get("completionTime"):
        text = "cannot set completionTime when there is no Complete=True condition"
        message = f'Invalid value: "{new["completionTime"]}": {text}'
        causes.append(_cause("status.completionTime", "FieldValueInvalid", message))
    if after & {"Complete", "Failed"} and not new.get("startTime"):
        text = "Required value: startTime is required for finished job"
        causes.append(_cause("status.startTime", "FieldValueRequired", text))
    return [*causes, *_undone(before - after)]


def _undone(gone: set[str]) -> list[Cause]:
    words = {"Complete": "terminal Complete", "Failed": "terminal Failed"}
    final = [name for name in ("Complete", "Failed", "SuccessCriteriaMet", "FailureTarget") if name in gone]
    texts = [f"Invalid value: cannot disable the {words.get(name, name)}=True condition" for name in final]
    return [_cause("status.conditions", "FieldValueInvalid", text) for text in texts]


def _true(status: Json) -> set[str]:
    return {c["type"] for c in status.get("conditions", ()) if c["status"] == "True"}


JOB = Kind(
    "Job", "jobs", "job",
    compile_schema(_object(spec=_SPEC, status=_STATUS), embedded=True, structs=True),
    categories=(), label_names=False, group="batch", version="v1", builtin=True, judge=_judge_job,
    complete=_complete_job,
)  # fmt: skip


def suspend(job: Json, now: str) -> Json | None:
    """A suspended Job as its controller says so; None for any other, and for one that it has spoken about."""
    if not job["spec"].get("suspend") or job.get("status"):
        return None
    condition: dict[str, Any] = {
        "type": "Suspended", "status": "True", "lastProbeTime": now, "lastTransitionTime": now,
        "reason": "JobSuspended", "message": "Job suspended",
    }  # fmt: skip
    return {**job, "status": {"conditions": [condition], "terminating": 0, "uncountedTerminatedPods": {}, "ready": 0}}
