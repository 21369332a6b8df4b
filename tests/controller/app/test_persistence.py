"""What the composed store keeps, and what it lets go of."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from litefleet_controller.app.persistence import Persistence, persistence
from litefleet_controller.app.settings import Settings
from litefleet_controller.identity.authority import Authority
from litefleet_controller.identity.errors import TokenError
from litefleet_controller.identity.roles import Role
from litefleet_controller.identity.tokens import AccessTokens, EnrollmentTokens
from litefleet_controller.resources.namespace import manifest
from litefleet_controller.store.interface import Key

NOW = datetime.now(UTC)
LINE = Key("Namespace", "", "line-a")


@pytest.fixture
async def keep(tmp_path: Path) -> AsyncIterator[Persistence]:
    async with persistence(Settings(data_dir=tmp_path), Authority.open(tmp_path / "ca", NOW)) as keep:
        await keep.objects.create(manifest("line-a"))
        yield keep


async def replaced(keep: Persistence) -> None:
    """Another tenant under the old one's name."""
    await keep.objects.delete(LINE)
    await keep.objects.create(manifest("line-a"))


async def test_people_of_a_deleted_namespace_are_not_let_into_the_next_of_its_name(keep: Persistence) -> None:
    tokens = AccessTokens(keep.database.sessions)
    bound = await tokens.create("old", Role.ADMIN, "line-a", None, NOW)
    others = [await tokens.create("ada", Role.ADMIN, scope, None, NOW) for scope in (None, "default")]
    await replaced(keep)
    assert await tokens.authenticate(bound, NOW) is None
    assert None not in [await tokens.authenticate(token, NOW) for token in others]


@pytest.mark.parametrize("used", [False, True])
async def test_boards_of_a_deleted_namespace_do_not_join_the_next_of_its_name(keep: Persistence, used: bool) -> None:
    """A used one counts too: its board may ask again for some minutes."""
    tokens = EnrollmentTokens(keep.database.sessions)
    secret = await tokens.create("line-a", 600, NOW, "ada")
    if used:
        await tokens.redeem(secret, "pi-1", "a" * 64, NOW)
    await replaced(keep)
    with pytest.raises(TokenError, match="no such enrollment token"):
        await tokens.redeem(secret, "pi-1", "a" * 64, NOW)
