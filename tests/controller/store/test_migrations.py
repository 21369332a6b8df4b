"""The schema's steps, up and down, with data in them."""

import json

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text


def _to(connection: Connection, revision: str, *, down: bool = False) -> None:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "litefleet_controller.store:migrations")
    config.set_main_option("path_separator", "os")
    (command.downgrade if down else command.upgrade)(config, revision)


def test_namespaces_become_objects_and_go_back(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'db'}")
    made = "2026-01-02 03:04:05.000000"
    with engine.begin() as connection:
        _to(connection, "0001")
        row = {"name": "line-a", "uid": "u-1", "at": made}
        connection.execute(text("INSERT INTO namespaces (name, uid, created_at) VALUES (:name, :uid, :at)"), row)
        _to(connection, "0002")
        rows = connection.execute(text("SELECT name, uid, body FROM objects ORDER BY name")).all()
        assert [r.name for r in rows] == ["default", "line-a"]
        body = json.loads(rows[1].body)
        assert (body["metadata"]["uid"], body["metadata"]["creationTimestamp"]) == ("u-1", "2026-01-02T03:04:05Z")
        assert body["status"] == {"phase": "Active"}
        found = connection.execute(text("SELECT count(*) FROM object_index WHERE value = 'line-a'")).scalar_one()
        assert found == 1
        _to(connection, "0001", down=True)
        back = connection.execute(text("SELECT name, uid FROM namespaces ORDER BY name")).all()
        assert [tuple(r) for r in back][1] == ("line-a", "u-1")
        assert connection.execute(text("SELECT count(*) FROM objects")).scalar_one() == 0
    engine.dispose()
