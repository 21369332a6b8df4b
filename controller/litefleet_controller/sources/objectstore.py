"""S3: an object's URI becomes a signed URL that is good for a few minutes; downloading it is a web server's business.

obstore finds the controller's credentials where programs find them (AWS_ACCESS_KEY_ID and its like, a web identity, the
machine's role) and signs. Imported when the first object is fetched.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from litefleet_controller.resources.uris import HttpUri, S3Uri, parse_http
from litefleet_controller.sources.interface import SourceError
from litefleet_controller.sources.policy import SourcePolicy

if TYPE_CHECKING:
    from obstore.store import S3Store

_GOOD_FOR = timedelta(minutes=15)
"""Signed anew for each try; a server looks at it once, when the answer begins."""
_LOOKING_FOR_CREDENTIALS = timedelta(seconds=20)


class ObjectStore:
    """Signs requests for objects."""

    def __init__(self, policy: SourcePolicy) -> None:
        self._policy = policy
        self._buckets: dict[str, S3Store] = {}

    async def signed(self, uri: S3Uri) -> HttpUri:
        """Where the object can be had for some minutes.

        Raises:
            SourceError: `BucketNotAllowed`, `CredentialsMissing` or `InvalidUri`.
        """
        check_bucket(self._policy, uri.bucket)
        import obstore
        from obstore.exceptions import BaseError

        try:
            store = self._bucket(uri.bucket)
            return parse_http(await obstore.sign_async(store, "GET", uri.key, _GOOD_FOR))
        except BaseError as e:
            raise SourceError(
                "CredentialsMissing",
                f"a request for the bucket {uri.bucket} can't be signed ({_first_line(e)})",
                hint="give the controller AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the machine a role",
            ) from e
        except (ValueError, TypeError) as e:
            raise SourceError("InvalidUri", f"the key {uri.key[:80]!r} can't be asked for", final=True) from e

    def _bucket(self, name: str) -> "S3Store":
        if name not in self._buckets:
            from obstore.store import S3Store

            endpoint = self._policy.s3_endpoint
            more: dict[str, Any] = {} if endpoint is None else {"endpoint": f"{endpoint.scheme}://{endpoint.authority}"}
            self._buckets[name] = S3Store(
                name, retry_config={"max_retries": 2, "retry_timeout": _LOOKING_FOR_CREDENTIALS}, **more
            )
        return self._buckets[name]


def check_bucket(policy: SourcePolicy, bucket: str) -> None:
    """Refuse a bucket that isn't listed: the controller's credentials may open more than whoever writes manifests.

    Raises:
        SourceError: `BucketNotAllowed`.
    """
    if bucket not in policy.buckets:
        raise SourceError(
            "BucketNotAllowed",
            f"this controller doesn't fetch from the bucket {bucket}",
            final=True,
            hint=f"start it with --source-bucket {bucket}, or push the file with 'litefleet model push FILE'",
        )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__
