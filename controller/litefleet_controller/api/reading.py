"""GET: one object, a list, a watch, for whatever has a `Reader`."""

from starlette.requests import Request
from starlette.responses import Response

from litefleet_controller.api.errors import ApiError, add_warnings, future_version
from litefleet_controller.api.forms import ListMeta, Renderer, include_object
from litefleet_controller.api.interface import ApiDependencies, Reader
from litefleet_controller.api.negotiate import Form, negotiate
from litefleet_controller.api.options import Continue, ListOptions, list_options, parse_version
from litefleet_controller.api.served import Served
from litefleet_controller.api.streaming import ends_of
from litefleet_controller.api.target import Target
from litefleet_controller.api.watching import Framer, WatchResponse
from litefleet_controller.store.errors import ExpiredError
from litefleet_controller.store.interface import Key, Page, Record

NO_CACHE = {"Cache-Control": "no-cache, private"}


def renderer(request: Request, served: Served, form: Form, deps: ApiDependencies) -> Renderer:
    """How this request's answer is written."""
    return Renderer(served, form, include_object(request.query_params.get("includeObject", "")), deps.clock)


def answer(body: bytes, form: Form, code: int = 200, warnings: tuple[str, ...] = ()) -> Response:
    """Ready bytes as a response, with a Warning header for each warning."""
    media = "application/yaml" if form.yaml else "application/json"
    response = Response(body, code, headers=NO_CACHE, media_type=media)
    add_warnings(response, warnings)
    return response


async def get(request: Request, served: Served, target: Target, reader: Reader, deps: ApiDependencies) -> Response:
    """One object.

    Raises:
        ApiError, StoreError.
    """
    form = negotiate(request.headers.get("accept"))
    write = renderer(request, served, form, deps)
    await _not_from_the_future(parse_version(request.query_params.get("resourceVersion", "")), reader)
    record = await reader.get(Key(served.kind, target.namespace or "" if served.namespaced else "", target.name))
    return answer(write.one(record), form)


async def list_(request: Request, served: Served, target: Target, reader: Reader, deps: ApiDependencies) -> Response:
    """A collection.

    Raises:
        ApiError, StoreError.
    """
    form = negotiate(request.headers.get("accept"))
    write = renderer(request, served, form, deps)
    options = list_options(served, target.namespace, request.query_params, watch=False)
    await _not_from_the_future(options.version, reader)
    await _not_from_the_future(options.query.at, reader)
    try:
        page = await reader.list(options.query)
    except ExpiredError as e:
        raise _expired(options) from e
    return answer(write.many(page, list_meta(page, options)), form)


def list_meta(page: Page, options: ListOptions) -> ListMeta:
    """Later pages keep the first one's version, so that a watch from it misses nothing that came between pages."""
    version = page.resource_version if options.query.at is None else options.query.at
    if not page.remaining or not page.records:
        return ListMeta(version)
    last = page.records[-1].key
    token = Continue(version, last.namespace, last.name).token(in_namespace=options.query.namespace is not None)
    selective = bool(options.query.labels or options.query.fields)
    return ListMeta(version, token, None if selective else page.remaining)


def _expired(options: ListOptions) -> ApiError:
    """A list that is too old: one that came in pages may still go on, if its reader can do with mixed states."""
    if options.continue_ is None:
        return ApiError(410, "The resourceVersion for the provided list is too old.")
    last = options.continue_
    token = Continue(-1, last.namespace, last.name).token(in_namespace=options.query.namespace is not None)
    return ApiError(410, _INCONSISTENT, metadata={"continue": token})


_INCONSISTENT = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
"""Kubernetes' own words."""


async def watch(request: Request, served: Served, target: Target, reader: Reader, deps: ApiDependencies) -> Response:
    """A watch; what goes wrong after it began comes as an ERROR event.

    Raises:
        ApiError.
    """
    form = negotiate(request.headers.get("accept"), watch=True)
    write = renderer(request, served, form, deps)
    options = list_options(served, target.namespace, request.query_params, watch=True)
    return WatchResponse(reader, options, Framer(write), ends_of(request, deps))


async def _not_from_the_future(version: int | None, reader: Reader) -> None:
    if not version:
        return
    current = await reader.resource_version()
    if version > current:
        raise future_version(version, current)


def created(
    request: Request, served: Served, record: Record, deps: ApiDependencies, warnings: tuple[str, ...]
) -> Response:
    """201 with the object."""
    return written(request, served, record, deps, warnings, code=201)


def written(
    request: Request,
    served: Served,
    record: Record,
    deps: ApiDependencies,
    warnings: tuple[str, ...] = (),
    *,
    code: int = 200,
) -> Response:
    """The object after a write, in the form that the client accepts."""
    form = negotiate(request.headers.get("accept"))
    return answer(renderer(request, served, form, deps).one(record), form, code, warnings)
