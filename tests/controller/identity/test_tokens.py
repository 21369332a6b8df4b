"""Tokens in a real SQLite file."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from litefleet_controller.identity.errors import LifetimeError, TokenError
from litefleet_controller.identity.roles import Person, Role
from litefleet_controller.identity.tokens import AccessTokens, EnrollmentTokens, Sessions
from litefleet_controller.store.database import Database
from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
KEY, OTHER_KEY = "a" * 64, "b" * 64


@pytest.fixture
async def sessions(tmp_path: Path) -> AsyncIterator[Sessions]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'db'}")
    await database.migrate()
    yield database.sessions
    await database.close()


@pytest.fixture
def tokens(sessions: Sessions) -> EnrollmentTokens:
    return EnrollmentTokens(sessions)


@pytest.fixture
def access(sessions: Sessions) -> AccessTokens:
    return AccessTokens(sessions)


async def refusal(tokens: EnrollmentTokens, secret: str, device: str, key: str, now: datetime) -> Code:
    with pytest.raises(TokenError) as caught:
        await tokens.redeem(secret, device, key, now)
    return caught.value.code


# Enrollment


async def test_a_token_lets_a_board_into_its_namespace(tokens: EnrollmentTokens) -> None:
    secret = await tokens.create("factory", 3600, NOW, "anna")
    assert await tokens.redeem(secret, "board-1", KEY, NOW + MINUTE) == "factory"


async def test_a_second_board_cannot_use_it(tokens: EnrollmentTokens) -> None:
    secret = await tokens.create("factory", 3600, NOW, "anna")
    await tokens.redeem(secret, "board-1", KEY, NOW)
    assert await refusal(tokens, secret, "board-2", OTHER_KEY, NOW) == Code.TOKEN_USED


async def test_the_same_name_with_another_key_cannot_use_it_again(tokens: EnrollmentTokens) -> None:
    secret = await tokens.create("factory", 3600, NOW, "anna")
    await tokens.redeem(secret, "board-1", KEY, NOW)
    assert await refusal(tokens, secret, "board-1", OTHER_KEY, NOW) == Code.TOKEN_USED


async def test_the_same_key_under_another_name_cannot_use_it_again(tokens: EnrollmentTokens) -> None:
    secret = await tokens.create("factory", 3600, NOW, "anna")
    await tokens.redeem(secret, "board-1", KEY, NOW)
    assert await refusal(tokens, secret, "board-2", KEY, NOW) == Code.TOKEN_USED


async def test_a_lost_answer_may_be_asked_for_again_for_ten_minutes(tokens: EnrollmentTokens) -> None:
    secret = await tokens.create("factory", 60, NOW, "anna")
    await tokens.redeem(secret, "board-1", KEY, NOW)
    assert await tokens.redeem(secret, "board-1", KEY, NOW + 10 * MINUTE) == "factory"
    assert await refusal(tokens, secret, "board-1", KEY, NOW + 11 * MINUTE) == Code.TOKEN_USED


async def test_an_expired_token_is_refused_and_stays_unused(tokens: EnrollmentTokens) -> None:
    secret = await tokens.create("factory", 60, NOW, "anna")
    assert await refusal(tokens, secret, "board-1", KEY, NOW + MINUTE) == Code.TOKEN_EXPIRED
    assert await tokens.redeem(secret, "board-1", KEY, NOW) == "factory"


@pytest.mark.parametrize("secret", ["", "unknown", "ü", "\udcff", "a" * 100_000, "' OR 1=1 --"])
async def test_an_unknown_token_is_refused(tokens: EnrollmentTokens, secret: str) -> None:
    await tokens.create("factory", 60, NOW, "anna")
    assert await refusal(tokens, secret, "board-1", KEY, NOW) == Code.TOKEN_INVALID


async def test_of_fifty_that_redeem_at_once_exactly_one_wins(tokens: EnrollmentTokens) -> None:
    secret = await tokens.create("factory", 60, NOW, "anna")
    results = await asyncio.gather(
        *(tokens.redeem(secret, f"board-{n}", f"{n:064d}", NOW) for n in range(50)), return_exceptions=True
    )
    assert [r for r in results if not isinstance(r, TokenError)] == ["factory"]
    assert {r.code for r in results if isinstance(r, TokenError)} == {Code.TOKEN_USED}


async def test_the_database_holds_no_secret(tokens: EnrollmentTokens, access: AccessTokens, tmp_path: Path) -> None:
    secret = await tokens.create("factory", 60, NOW, "anna")
    bearer = await access.create("anna", Role.ADMIN, None, None, NOW)
    with sqlite3.connect(tmp_path / "db") as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    dump += (tmp_path / "db-wal").read_bytes().decode("latin-1")
    assert "factory" in dump
    assert secret not in dump
    assert bearer.partition(".")[2] not in dump


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 31 * 86_400])
async def test_a_senseless_lifetime_is_refused(tokens: EnrollmentTokens, ttl: float) -> None:
    with pytest.raises(LifetimeError, match="at most 2592000 s"):
        await tokens.create("factory", ttl, NOW, "anna")


async def test_a_bad_namespace_is_refused(tokens: EnrollmentTokens) -> None:
    with pytest.raises(ProtocolError) as caught:
        await tokens.create("../x", 60, NOW, "anna")
    assert (caught.value.code, caught.value.field) == (Code.INVALID_NAME, "namespace")


# People


async def test_a_bearer_stands_for_its_person(access: AccessTokens) -> None:
    bearer = await access.create("anna", Role.OPERATOR, "factory", None, NOW)
    assert await access.authenticate(bearer, NOW + timedelta(days=3650)) == Person("anna", Role.OPERATOR, "factory")


async def test_a_token_ends_when_it_should(access: AccessTokens) -> None:
    bearer = await access.create("anna", Role.VIEWER, None, 60, NOW)
    assert await access.authenticate(bearer, NOW + timedelta(seconds=59)) is not None
    assert await access.authenticate(bearer, NOW + MINUTE) is None


@pytest.mark.parametrize("bearer", ["", "lfa1.", "lfa1.unknown", "\udcff"])
async def test_an_unknown_bearer_is_nobody(access: AccessTokens, bearer: str) -> None:
    await access.create("anna", Role.VIEWER, None, None, NOW)
    assert await access.authenticate(bearer, NOW) is None


async def test_an_enrollment_secret_is_no_bearer(tokens: EnrollmentTokens, access: AccessTokens) -> None:
    assert await access.authenticate(await tokens.create("factory", 60, NOW, "anna"), NOW) is None


async def test_revoking_ends_all_of_a_persons_tokens_at_the_next_request(access: AccessTokens) -> None:
    mine = [await access.create("anna", Role.ADMIN, None, None, NOW) for _ in range(2)]
    others = await access.create("ben", Role.VIEWER, None, None, NOW)
    assert await access.revoke("anna", NOW) == 2
    assert [await access.authenticate(bearer, NOW) for bearer in mine] == [None, None]
    assert await access.authenticate(others, NOW) is not None
    assert await access.revoke("anna", NOW) == 0


async def test_the_list_shows_the_tokens_that_work(access: AccessTokens) -> None:
    await access.create("ben", Role.VIEWER, "factory", None, NOW)
    await access.create("anna", Role.ADMIN, None, 60, NOW)
    await access.create("carl", Role.ADMIN, None, None, NOW)
    await access.revoke("carl", NOW)
    assert [token.person.name for token in await access.list(NOW)] == ["anna", "ben"]
    assert [token.person.name for token in await access.list(NOW + MINUTE)] == ["ben"]


@pytest.mark.parametrize(("name", "namespace"), [("", None), ("An na", None), ("anna", "no/good")])
async def test_bad_names_are_refused(access: AccessTokens, name: str, namespace: str | None) -> None:
    with pytest.raises(ProtocolError) as caught:
        await access.create(name, Role.VIEWER, namespace, None, NOW)
    assert caught.value.code == Code.INVALID_NAME


# Clocks that were wrong


YEARS = timedelta(days=35 * 365)


async def test_an_enrollment_token_that_was_made_under_a_fast_clock_is_not_good_for_decades(
    tokens: EnrollmentTokens,
) -> None:
    secret = await tokens.create("default", 600, NOW + YEARS, "ada")
    with pytest.raises(TokenError, match="clock was wrong") as caught:
        await tokens.redeem(secret, "board-1", KEY, NOW)
    assert caught.value.code == Code.TOKEN_EXPIRED
    assert await tokens.redeem(secret, "board-1", KEY, NOW + YEARS) == "default"


async def test_an_access_token_with_an_end_that_a_fast_clock_set_is_over(access: AccessTokens) -> None:
    bearer = await access.create("ada", Role.ADMIN, None, 600, NOW + YEARS)
    assert await access.authenticate(bearer, NOW) is None
    assert await access.list(NOW) == []


async def test_an_access_token_without_an_end_needs_no_clock(access: AccessTokens) -> None:
    bearer = await access.create("ada", Role.ADMIN, None, None, NOW + YEARS)
    assert await access.authenticate(bearer, NOW) is not None
    assert await access.authenticate(bearer, NOW - 2 * YEARS) is not None


async def test_a_board_whose_answer_got_lost_under_a_fast_clock_may_not_repeat_its_request_for_decades(
    tokens: EnrollmentTokens,
) -> None:
    secret = await tokens.create("default", 600, NOW + YEARS, "ada")
    await tokens.redeem(secret, "board-1", KEY, NOW + YEARS)
    with pytest.raises(TokenError) as caught:
        await tokens.redeem(secret, "board-1", KEY, NOW)
    assert caught.value.code == Code.TOKEN_USED
