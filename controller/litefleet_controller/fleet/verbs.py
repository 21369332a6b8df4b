"""What a person does to a rollout: promote, abort, retry, pause, resume, undo; once for every door.

`paused` and the version are part of the spec, so pause, resume and undo edit it, as anyone may with kubectl. Promote,
abort and retry are requests: an annotation with an id, which the reconciler consumes once and answers in
`status.lastRequest`. Nothing here waits for that, or commands a board.
"""

from collections.abc import Callable
from typing import TypedDict

from litefleet_controller.fleet.errors import BadQueryError, MissingError, VerbRefusedError
from litefleet_controller.resources.registry import MODEL_ROLLOUT, MODEL_VERSION
from litefleet_controller.resources.rollout import REQUEST_ANNOTATION, REQUEST_VERBS
from litefleet_controller.store.errors import NotFoundError
from litefleet_controller.store.interface import Json, Key, Objects

REQUESTED_BY_ANNOTATION = "litefleet.dev/requested-by"
VERBS = (*REQUEST_VERBS, "pause", "resume", "undo")


class Answer(TypedDict):
    """What a verb did."""

    message: str
    """One sentence."""
    request: str
    """The request's id, to be found again in `status.lastRequest.id`; empty when the spec was edited instead."""


class Verbs:
    """Rollout verbs. `new_id` makes ids that don't repeat, without blanks."""

    def __init__(self, objects: Objects, new_id: Callable[[], str]) -> None:
        self._objects = objects
        self._new_id = new_id

    async def do(self, verb: str, namespace: str, name: str, *, by: str, to_version: str | None = None) -> Answer:
        """Do one of `VERBS`; `to_version` is undo's, a number or a ModelVersion's name.

        Raises:
            MissingError: no such verb, rollout or version.
            VerbRefusedError: undo without an earlier version.
            store.errors: ConflictError and the like.
        """
        if to_version is not None and verb != "undo":
            raise BadQueryError("toVersion", f"{verb} takes no version; undo does")
        if verb in REQUEST_VERBS:
            return await self._request(verb, namespace, name, by)
        match verb:
            case "pause" | "resume":
                return await self._set_paused(verb == "pause", namespace, name)
            case "undo":
                return await self._undo(namespace, name, to_version)
        raise MissingError(f"there is no verb {verb[:40]!r} for rollouts", hint=f"use one of {', '.join(VERBS)}")

    async def _request(self, verb: str, namespace: str, name: str, by: str) -> Answer:
        request = self._new_id()

        def annotate(rollout: Json) -> Json:
            annotations = rollout["metadata"].setdefault("annotations", {})
            annotations[REQUEST_ANNOTATION] = f"{verb} {request}"
            annotations[REQUESTED_BY_ANNOTATION] = by
            return rollout

        await self._mutate(namespace, name, annotate)
        return {"message": f"{verb} of rollout {name!r} is requested", "request": request}

    async def _set_paused(self, paused: bool, namespace: str, name: str) -> Answer:
        was = False

        def edit(rollout: Json) -> Json | None:
            nonlocal was
            was = rollout["spec"].get("paused", False)
            rollout["spec"]["paused"] = paused
            return None if was == paused else rollout

        await self._mutate(namespace, name, edit)
        if paused:
            text = "was paused already" if was else "is paused: no further board is commanded until it is resumed"
        else:
            text = "goes on" if was else "was not paused by its spec; a pause of its steps ends with promote"
        return {"message": f"rollout {name!r} {text}", "request": ""}

    async def _undo(self, namespace: str, name: str, to_version: str | None) -> Answer:
        rollout = await self._get(namespace, name)
        model = rollout["spec"]["modelRef"]["name"]
        version = previous_version(rollout) if to_version is None else _version_name(model, to_version)
        await self._check_version(namespace, model, version)
        before = rollout["spec"]["modelRef"].get("version", "latest")

        def edit(current: Json) -> Json | None:
            if current["spec"]["modelRef"]["name"] != model:
                raise VerbRefusedError(
                    "Conflict", f"rollout {name!r} was given another model meanwhile; look at it and try again"
                )
            if current["spec"]["modelRef"].get("version") == version:
                return None
            current["spec"]["modelRef"]["version"] = version
            return current

        await self._mutate(namespace, name, edit)
        if before == version:
            return {"message": f"rollout {name!r} was set to {version} already", "request": ""}
        return {"message": f"rollout {name!r} goes to {version}, in its steps; its version was {before}", "request": ""}

    async def _check_version(self, namespace: str, model: str, version: str) -> None:
        try:
            record = await self._objects.get(Key(MODEL_VERSION.kind, namespace, version))
        except NotFoundError as e:
            raise MissingError(
                f"there is no version {version!r} of model {model!r}",
                field="toVersion",
                hint=f"litefleet get modelversions -l litefleet.dev/model={model}",
            ) from e
        owner = record.json()["spec"]["modelRef"]
        if owner != model:
            raise BadQueryError(
                "toVersion", f"{version!r} is a version of model {owner!r}; the rollout is of {model!r}"
            )

    async def _get(self, namespace: str, name: str) -> Json:
        return (await self._objects.get(Key(MODEL_ROLLOUT.kind, namespace, name))).json()

    async def _mutate(self, namespace: str, name: str, change: Callable[[Json], Json | None]) -> None:
        await self._objects.mutate(Key(MODEL_ROLLOUT.kind, namespace, name), change)


def previous_version(rollout: Json) -> str:
    """The version that completed last, for any class, before the one that the rollout has now.

    Raises:
        VerbRefusedError: there is none.
    """
    status = rollout.get("status") or {}
    current = status.get("targetVersion", "")
    done = [r for r in status.get("history") or [] if r["outcome"] == "Complete" and r["version"] != current]
    if not done:
        raise VerbRefusedError(
            "NoEarlierVersion",
            f"rollout {rollout['metadata']['name']!r} has completed no version before {current or 'its first'}",
            hint="name one with --to-version",
        )
    return str(max(done, key=lambda r: r["finishedAt"])["version"])


def _version_name(model: str, version: str) -> str:
    return f"{model}-v{version}" if version.isascii() and version.isdecimal() else version
