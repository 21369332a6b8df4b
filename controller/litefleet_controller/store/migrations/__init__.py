"""The schema's history, run by Alembic inside a transaction that the database's owner opened.

A new table or column comes as a new file in `versions/`; a test compares the result with the tables' models.
"""

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection

from litefleet_controller.store.errors import DatabaseVersionError


def upgrade(connection: Connection) -> None:
    """Bring the schema that `connection` sees to the newest version.

    Raises:
        DatabaseVersionError: it is already newer than this program knows.
    """
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "litefleet_controller.store:migrations")
    config.set_main_option("path_separator", "os")
    try:
        command.upgrade(config, "head")
    except CommandError as e:
        raise DatabaseVersionError(str(e)) from e
