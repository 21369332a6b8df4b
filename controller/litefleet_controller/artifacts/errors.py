"""What storage refuses. The API turns these into Status objects, the reconcilers into conditions."""


class BlobError(Exception):
    """Root of storage's refusals; `digest` names the blob, empty when it has no name yet."""

    def __init__(self, message: str, digest: str = "") -> None:
        super().__init__(message)
        self.digest = digest


class BlobNotFoundError(BlobError):
    """There is no such blob."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"blob {digest} isn't stored here; upload it with 'litefleet model push FILE'", digest)


class BlobCorruptError(BlobError):
    """The stored bytes aren't what their name says: the disk, or somebody on it, changed them."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"blob {digest} is damaged on the disk; upload the same file again to repair it", digest)


class BlobTooLargeError(BlobError):
    """A stream that goes on past its limit."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"more than {max_bytes} bytes, which is the limit for one file")
        self.max_bytes = max_bytes


class BlobEmptyError(BlobError):
    """A stream without a byte."""

    def __init__(self) -> None:
        super().__init__("the file is empty (0 bytes)")


class StorageFullError(BlobError):
    """The disk, a quota or a file size limit has no room."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"no room under {place}: {reason}; free some space and try again")


class ArtifactNotFoundError(BlobError):
    """No manifest with this digest was published here."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"no artifact {digest} was published here", digest)
