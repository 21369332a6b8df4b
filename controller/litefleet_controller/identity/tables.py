"""The tables of identity/: tokens by their hash. The migrations that create them live with the store.

Neither table holds a secret: a token is 32 random bytes, so its plain SHA-256 can be looked up but not guessed.
"""

from datetime import datetime

from sqlmodel import Field, SQLModel


class EnrollmentTokenRow(SQLModel, table=True):
    """One enrollment token; used once, by one board with one key."""

    __tablename__ = "enrollment_tokens"

    hash: str = Field(primary_key=True, max_length=64)
    """Hex SHA-256 of the secret."""
    namespace: str = Field(max_length=63)
    created_by: str = Field(max_length=253)
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    used_by: str | None = Field(default=None, max_length=63)
    """The board's name."""
    key_sha256: str | None = Field(default=None, max_length=64)
    """The board's public key (SHA-256 of its SubjectPublicKeyInfo), so that only the same board may ask again."""


class AccessTokenRow(SQLModel, table=True):
    """One token of a person or a program. A person may have several; all share the name."""

    __tablename__ = "access_tokens"

    hash: str = Field(primary_key=True, max_length=64)
    """Hex SHA-256 of the bearer text."""
    name: str = Field(max_length=253, index=True)
    role: str = Field(max_length=16)
    namespace: str | None = Field(default=None, max_length=63)
    """None: every namespace."""
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
