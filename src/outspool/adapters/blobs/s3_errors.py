"""Describes failures of the bucket: a sentence that names it, and the fix.

Imports botocore only when an error has to be described, because that is slow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from outspool.domain.setting import Setting
from outspool.errors import BlobsUnavailable, OutspoolError, brief

_LATER = "Try again later; what is accepted already waits for it."
_KEYS = f"Check {Setting.ACCESS_KEY} and {Setting.SECRET_KEY}."
_RIGHTS = "The keys need s3:GetObject, s3:PutObject and s3:DeleteObject on its objects, and s3:ListBucket on itself."
_PLACE = f"Check {Setting.BUCKET}, {Setting.BUCKET_REGION} and {Setting.BUCKET_SERVER}."

_CASES = {
    "InvalidAccessKeyId": ("does not know the access key", _KEYS),
    "SignatureDoesNotMatch": ("does not accept the secret key", _KEYS),
    "InvalidToken": ("does not accept the keys", _KEYS),
    "ExpiredToken": ("does not accept the keys any more", _KEYS),
    "AccessDenied": ("is not open to these keys", _RIGHTS),
    "403": ("is not open to these keys", f"{_KEYS} {_RIGHTS}"),
    "NoSuchBucket": ("does not exist", _PLACE),
    "404": ("does not exist", _PLACE),
    "RequestTimeTooSkewed": ("says that this machine's clock is wrong", "Set the clock."),
    "PermanentRedirect": ("is elsewhere", _PLACE),
    "TemporaryRedirect": ("is elsewhere", _PLACE),
    "AuthorizationHeaderMalformed": ("is in another region", f"Check {Setting.BUCKET_REGION}."),
    "301": ("is elsewhere", _PLACE),
    "302": ("is elsewhere", _PLACE),
    "307": ("is elsewhere", _PLACE),
    "308": ("is elsewhere", _PLACE),
    "BadDigest": ("received other bytes than were sent", _LATER),
}

_MALFORMED = ("cannot be used as it is written", _PLACE)


@contextmanager
def as_unavailable(bucket: str) -> Iterator[None]:
    """Raise `BlobsUnavailable` for every error of botocore and the network."""
    try:
        yield
    except OutspoolError:
        raise
    except ImportError:
        raise not_installed_error() from None
    except Exception as error:
        from aiohttp import ClientError as HttpError
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        if not isinstance(error, BotoCoreError | ClientError | HTTPClientError | HttpError | OSError):
            raise
        raise _unavailable(bucket, *_explain(error)) from None


def not_installed_error() -> BlobsUnavailable:
    """Return the error for a bucket without the libraries of the extra `s3`."""
    return BlobsUnavailable(
        f"{Setting.BUCKET.at_start} is set, but the libraries for S3 are not installed.",
        'Install outspool with the extra "s3": outspool[s3].',
    )


def malformed_error(bucket: str) -> BlobsUnavailable:
    """Return the error for an invalid bucket or endpoint."""
    return _unavailable(bucket, *_MALFORMED)


def is_absent(error: Exception) -> bool:
    """Tell whether the error means that there is no such object."""
    return _code(error) in {"404", "NoSuchKey"}


def _unavailable(bucket: str, what: str, fix: str) -> BlobsUnavailable:
    return BlobsUnavailable(f"The bucket {brief(bucket)}, where attachments are kept, {what}.", fix)


def _explain(error: Exception) -> tuple[str, str]:
    from botocore import exceptions as errors

    code = _code(error)
    if code in _CASES:
        return _CASES[code]
    if code:
        return f"refused with {brief(code)}", _LATER
    match error:
        case errors.NoCredentialsError() | errors.PartialCredentialsError():
            return "needs keys, and there are none", f"Set {Setting.ACCESS_KEY} and {Setting.SECRET_KEY}."
        case errors.ParamValidationError():
            return _MALFORMED
        case errors.SSLError():
            return (
                "is behind a certificate that is not trusted",
                f"Check {Setting.BUCKET_SERVER}; {Setting.BUCKET_AUTHORITIES} names a file with your own authority.",
            )
        case errors.ConnectTimeoutError() | errors.ReadTimeoutError() | TimeoutError():
            return "did not answer in time", _LATER
        case errors.EndpointConnectionError() | errors.ConnectionClosedError():
            return "cannot be reached", f"{_PLACE} {_LATER}"
    return "cannot be used: the connection failed", _LATER


def _code(error: Exception) -> str:
    """Return S3's error code, else the HTTP status; empty for other errors."""
    response: Any = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
