import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
import structlog
from fastapi import Request

from litefleet_controller.api.app import create_api
from litefleet_controller.api.errors import refused
from litefleet_controller.api.server import Server, ServerError
from litefleet_controller.identity.roles import Role
from litefleet_controller.store.interface import Query
from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError
from tests.controller.api.conftest import GROUP, NS, World, device, rollout

ROLLOUTS = f"{NS}/modelrollouts"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer nobody", "Basic YTpi", "Bearer " + "x" * 5000])
async def test_without_a_known_token_everything_is_401(world: World, header: str) -> None:
    async with world.client("") as client:
        for path in (ROLLOUTS, "/apis", "/openapi/v3", "/nothing/here", "/"):
            answer = await client.get(path, headers={"Authorization": header} if header else {})
            assert (answer.status_code, answer.json()["reason"]) == (401, "Unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["", "Basic YTpi"])
async def test_where_anonymous_requests_are_on_they_may_nothing_but_are_told_so(world: World, header: str) -> None:
    app = create_api(replace(world.deps, anonymous=True))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        for path in (ROLLOUTS, "/apis", "/openapi/v3", "/nothing/here", "/"):
            answer = await client.get(path, headers={"Authorization": header} if header else {})
            assert (answer.status_code, answer.json()["reason"]) == (403, "Forbidden"), path
            assert "system:anonymous" in answer.json()["message"]
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        assert (await client.post(path, json=review)).status_code == 403


async def test_a_viewer_may_read_what_is_there_but_not_ask_for_other_paths(world: World) -> None:
    token = await world.token(Role.VIEWER)
    async with world.client(token) as client:
        assert (await client.get("/openapi/v3")).status_code == 200
        answer = await client.get("/logs")
        assert (answer.status_code, answer.json()["message"]) == (
            403,
            'forbidden: User "viewer" cannot get path "/logs"',
        )


async def test_a_revoked_token_is_401_at_once(world: World, api: httpx.AsyncClient) -> None:
    assert (await api.get(ROLLOUTS)).status_code == 200
    await world.tokens.revoke("ada", world.clock())
    assert (await api.get(ROLLOUTS)).status_code == 401


async def test_a_viewer_reads_and_may_not_write(world: World) -> None:
    async with world.client(await world.token(Role.VIEWER)) as viewer:
        assert (await viewer.get(ROLLOUTS)).status_code == 200
        answer = await viewer.post(ROLLOUTS, json=rollout())
        assert (answer.status_code, answer.json()["reason"]) == (403, "Forbidden")
        assert answer.json()["message"] == (
            'modelrollouts.litefleet.dev is forbidden: User "viewer" cannot create resource '
            '"modelrollouts" in API group "litefleet.dev" in the namespace "default"'
        )


async def test_what_is_forbidden_comes_before_what_is_broken_or_missing(world: World) -> None:
    async with world.client(await world.token(Role.VIEWER)) as viewer:
        for path in (ROLLOUTS, f"{NS}/gadgets"):
            assert (await viewer.post(path, content=b"{broken")).status_code == 403


async def test_an_operator_may_not_write_status(world: World) -> None:
    async with world.client(await world.token(Role.OPERATOR)) as operator:
        assert (await operator.post(ROLLOUTS, json=rollout())).status_code == 201
        answer = await operator.patch(f"{ROLLOUTS}/r1/status", json={"status": {}})
        assert 'resource "modelrollouts/status"' in answer.json()["message"]


async def test_another_tenant_s_world_is_not_found(world: World, api: httpx.AsyncClient) -> None:
    await api.post("/api/v1/namespaces", json={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    await api.post(ROLLOUTS, json=rollout())
    async with world.client(await world.token(Role.OPERATOR, "team")) as tenant:
        assert (await tenant.get(f"{ROLLOUTS}/r1")).json()["message"] == 'modelrollouts.litefleet.dev "r1" not found'
        assert (await tenant.get(ROLLOUTS)).json()["message"] == 'namespaces "default" not found'
        assert (await tenant.delete(f"{ROLLOUTS}/r1")).status_code == 404
        assert (await tenant.get(f"{GROUP}/modelrollouts")).status_code == 403
        assert (await tenant.get(f"{GROUP}/namespaces/team/modelrollouts")).status_code == 200
    assert (await api.get(f"{ROLLOUTS}/r1")).status_code == 200


async def test_access_reviews_answer_for_the_one_who_asks(world: World) -> None:
    async with world.client(await world.token(Role.VIEWER)) as viewer:
        for verb, allowed in (("list", True), ("create", False), ("*", False)):
            attributes = {"namespace": "default", "verb": verb, "group": "litefleet.dev", "resource": "modelrollouts"}
            assert (await _review(viewer, {"resourceAttributes": attributes}))["allowed"] is allowed
        assert (await _review(viewer, {"nonResourceAttributes": {"path": "/apis/x", "verb": "get"}}))["allowed"] is True
        assert (await _review(viewer, {"nonResourceAttributes": {"path": "/logs", "verb": "get"}}))["allowed"] is False


async def _review(client: httpx.AsyncClient, spec: dict[str, Any]) -> dict[str, Any]:
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
    answer = await client.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=body)
    assert answer.status_code == 201, answer.text
    status: dict[str, Any] = answer.json()["status"]
    return status


async def test_an_empty_access_review_is_invalid(api: httpx.AsyncClient) -> None:
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {}}
    answer = await api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=body)
    assert (answer.status_code, answer.json()["details"]["causes"][0]["field"]) == (422, "spec.resourceAttributes")


async def test_the_person_is_known_to_every_route(world: World) -> None:
    @world.app.get("/fleet/v1/me")
    async def me(request: Request) -> dict[str, str]:
        return {"name": request.state.person.name}

    async with world.client() as client:
        assert (await client.get("/fleet/v1/me")).json() == {"name": "ada"}


async def test_refusals_of_other_routes_become_status_objects(world: World) -> None:
    @world.app.get("/fleet/v1/refuse")
    async def refuse(kind: int) -> None:
        if kind == 1:
            raise refused(409, "Busy", "it is busy", field="name", hint="wait")
        raise ProtocolError(Code.TOKEN_USED, "the token was used", field="secret")

    async with world.client() as client:
        busy = (await client.get("/fleet/v1/refuse?kind=1")).json()
        assert (busy["code"], busy["message"], busy["details"]["causes"][0]["code"]) == (
            409,
            "it is busy (wait)",
            "Busy",
        )
        used = (await client.get("/fleet/v1/refuse?kind=2")).json()
        assert (used["code"], used["details"]["causes"][0]["code"]) == (401, "TokenUsed")
        parameter = (await client.get("/fleet/v1/refuse?kind=x")).json()
        assert (parameter["code"], parameter["details"]["causes"][0]["field"]) == (422, "kind")
        missing = (await client.get("/fleet/v1/nothing")).json()
        assert (missing["kind"], missing["code"]) == ("Status", 404)


async def test_a_fault_is_a_500_with_an_id_that_the_log_knows_and_no_traceback(world: World) -> None:
    @world.app.get("/fleet/v1/fault")
    async def fault() -> None:
        raise RuntimeError("secret detail")

    with structlog.testing.capture_logs() as logs:
        async with world.client() as client:
            answer = await client.get("/fleet/v1/fault")
    assert (answer.status_code, answer.json()["reason"]) == (500, "InternalError")
    assert "secret detail" not in answer.text
    (entry,) = logs
    assert entry["event"] == "request_failed"
    assert entry["request_id"] in answer.json()["message"]
    assert entry["request_id"] == answer.headers["audit-id"]


async def test_a_list_sends_the_stored_bytes_as_they_are(world: World, api: httpx.AsyncClient) -> None:
    await api.post(f"{NS}/devices", json=device("d0"))
    (record,) = (await world.objects.list(Query("Device"))).records
    assert record.body in (await api.get(f"{NS}/devices")).content


async def test_a_taken_port_is_a_clear_error(world: World) -> None:
    first = Server(world.app, "127.0.0.1", 0)
    host, port = await first.start()
    with pytest.raises(ServerError, match=f"can't listen on {host}:{port}"):
        await Server(world.app, host, port).start()
    await first.stop()


async def test_the_server_stops_twice_without_harm(world: World) -> None:
    server = Server(world.app, "127.0.0.1", 0)
    await server.start()
    await server.stop()
    await server.stop()


async def test_a_slow_client_does_not_hold_up_others(world: World, live: httpx.AsyncClient) -> None:
    host, port = live.base_url.host, live.base_url.port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"POST /apis HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()
    assert (await live.get("/version")).status_code == 200
    writer.close()
    await writer.wait_closed()
    assert reader is not None
