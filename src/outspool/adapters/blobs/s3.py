"""Attachments in an S3 bucket, or any compatible server.

An object's key is a fixed prefix and the digest, so it contains nothing that a caller wrote, and equal content is
stored once. Uploads carry SHA-256 checksums that the server verifies. A blob is downloaded whole and verified before it
is used, so that no outage strikes in mid-message.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from outspool.adapters.blobs.integrity import (
    CHUNK,
    changed_error,
    check_digest,
    damaged_error,
    missing_error,
    run_in_thread,
    verify_chunks,
)
from outspool.adapters.blobs.s3_errors import as_unavailable, is_absent, malformed_error
from outspool.adapters.files.private_files import create_folder

Client = Any
"""aiobotocore generates its classes at runtime; they have no types."""

PREFIX = "outspool/attachments/"
"""Prefix of every key; the rest is a digest."""

_CHECK_KEY = "outspool/check"
_PART = 5 * 2**20
"""Bytes of each part of a multipart upload, the smallest that S3 accepts; smaller blobs are uploaded whole."""
_CONCURRENT_TRANSFERS = 4
"""Concurrent transfers; more would cost memory and gain little."""
_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS = 3, 10, 2
"""Short, because a caller waits; a due email is retried for days anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Place:
    """A bucket and its credentials.

    Without keys, the machine's own are used (an instance's role, ``~/.aws``); without `endpoint_url`, Amazon's servers;
    without `authorities`, a file of certificates, those that botocore brings.
    """

    bucket: str
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    region: str | None = None
    endpoint_url: str | None = None
    authorities: Path | None = None

    def __str__(self) -> str:
        """Return the bucket and its server, for messages."""
        return f"bucket {self.bucket} at {self.endpoint_url or 'Amazon S3'}"


class S3Blobs:
    """The `BlobStore` port in a bucket. Belongs to one event loop; `close` it."""

    def __init__(self, place: S3Place, *, scratch: Path) -> None:
        """Connect to nothing yet. Downloads are kept in the folder `scratch` while they are read."""
        self._place = place
        self._scratch = scratch
        self._slots = asyncio.Semaphore(_CONCURRENT_TRANSFERS)
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._client: Client | None = None

    def __str__(self) -> str:
        """Return the location, for messages."""
        return f"the {self._place}"

    async def put(self, digest: str, size: int, chunks: AsyncIterable[bytes]) -> None:
        """See `BlobStore.put`."""
        key = _key(digest)
        async with self._slots:
            with as_unavailable(self._place.bucket):
                client = await self._get_client()
                if await self._exists(client, key, size):
                    return
                parts = _parts(verify_chunks(chunks, digest, size, changed_error))
                if size <= _PART:
                    body = b"".join([part async for part in parts])
                    await client.put_object(Bucket=self._place.bucket, Key=key, **_body(body))
                else:
                    await self._upload(client, key, parts)

    @asynccontextmanager
    async def open(self, digest: str, size: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """See `BlobStore.open`."""
        key = _key(digest)
        with as_unavailable(self._place.bucket):
            spool = await run_in_thread(self._spool)
        try:
            async with self._slots:
                with as_unavailable(self._place.bucket):
                    body = self._download(await self._get_client(), key, size)
                    async for chunk in verify_chunks(body, digest, size, damaged_error):
                        await run_in_thread(spool.write, chunk)
                    await run_in_thread(spool.seek, 0)
            yield _read(spool)
        finally:
            spool.close()

    async def size(self, digest: str) -> int | None:
        """See `BlobStore.size`."""
        key = _key(digest)
        with as_unavailable(self._place.bucket):
            client = await self._get_client()
            try:
                found = await client.head_object(Bucket=self._place.bucket, Key=key)
            except client.exceptions.ClientError as error:
                if is_absent(error):
                    return None
                raise
            length: int = found["ContentLength"]
            return length

    async def delete(self, digest: str) -> None:
        """See `BlobStore.delete`."""
        key = _key(digest)
        with as_unavailable(self._place.bucket):
            client = await self._get_client()
            await client.delete_object(Bucket=self._place.bucket, Key=key)

    async def check(self) -> None:
        """See `BlobStore.check`."""
        bucket = self._place.bucket
        with as_unavailable(bucket):
            client = await self._get_client()
            await client.put_object(Bucket=bucket, Key=_CHECK_KEY, **_body(b"outspool"))
            found = await client.get_object(Bucket=bucket, Key=_CHECK_KEY)
            body = found["Body"]
            async with body:
                await body.read()
            await client.delete_object(Bucket=bucket, Key=_CHECK_KEY)

    async def close(self) -> None:
        """Close the connections."""
        self._client = None
        await self._stack.aclose()

    async def _get_client(self) -> Client:
        async with self._opening:
            if self._client is None:
                try:
                    client = await self._stack.enter_async_context(await run_in_thread(self._new_client))
                except ValueError:
                    raise malformed_error(self._place.bucket) from None
                if self._place.endpoint_url:
                    client.meta.events.register_last("before-parameter-build.s3", _refuse_redirect)
                self._client = client
            return self._client

    def _new_client(self) -> Any:
        """Create a client; takes a third of a second, mostly for reading S3's service description."""
        import aioboto3
        from aiobotocore.config import AioConfig

        from outspool.adapters.blobs.s3_session import SteadySession

        session = aioboto3.Session(
            aws_access_key_id=self._place.access_key_id,
            aws_secret_access_key=self._place.secret_access_key,
            region_name=self._place.region or "us-east-1",
        )
        # Leave out what most servers other than Amazon's do not support; digests are verified anyway.
        config = AioConfig(
            http_session_cls=SteadySession,
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
            signature_version="s3v4",
            s3={"addressing_style": "path" if self._place.endpoint_url else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        authorities = str(self._place.authorities) if self._place.authorities else None
        return session.client("s3", endpoint_url=self._place.endpoint_url, config=config, verify=authorities)

    async def _exists(self, client: Client, key: str, size: int) -> bool:
        """Tell whether the object is known to exist; if that cannot be found out, the upload reports the error."""
        try:
            found = await client.head_object(Bucket=self._place.bucket, Key=key)
        except client.exceptions.ClientError:
            return False
        return bool(found["ContentLength"] == size)

    async def _upload(self, client: Client, key: str, parts: AsyncIterable[bytes]) -> None:
        """Upload a large object in parts; it exists only once all parts are there."""
        location = {"Bucket": self._place.bucket, "Key": key}
        upload_started = await client.create_multipart_upload(**location, ChecksumAlgorithm="SHA256")
        upload = location | {"UploadId": upload_started["UploadId"]}
        done: list[dict[str, Any]] = []
        try:
            async for body in parts:
                number, response = len(done) + 1, _body(body)
                part = await client.upload_part(**upload, PartNumber=number, **response)
                checksum = response["ChecksumSHA256"]
                done.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumSHA256": checksum})
            await client.complete_multipart_upload(**upload, MultipartUpload={"Parts": done})
        except BaseException:
            with contextlib.suppress(Exception):
                await asyncio.shield(client.abort_multipart_upload(**upload))
            raise

    async def _download(self, client: Client, key: str, size: int) -> AsyncIterator[bytes]:
        try:
            found = await client.get_object(Bucket=self._place.bucket, Key=key)
        except client.exceptions.NoSuchKey:
            raise missing_error() from None
        body = found["Body"]
        async with body:
            if found["ContentLength"] != size:
                raise damaged_error()
            while chunk := await body.read(CHUNK):
                yield chunk

    def _spool(self) -> IO[bytes]:
        """Open an unnamed temporary file, of which nothing is left after any crash."""
        create_folder(self._scratch)
        return tempfile.TemporaryFile(dir=self._scratch)


def _refuse_redirect(context: dict[str, Any], **_: object) -> None:
    """Keep botocore from following redirects between regions.

    It would ask the redirecting server for the bucket's region, without limit if that redirects too.
    """
    context.get("s3_redirect", {})["redirected"] = True


def _key(digest: str) -> str:
    return PREFIX + check_digest(digest)


def _body(content: bytes) -> dict[str, Any]:
    """Return the request body and its checksum."""
    # As a file it is sent in pieces; bytes would be copied whole into the socket's buffer.
    return {"Body": BytesIO(content), "ChecksumSHA256": b64encode(sha256(content).digest()).decode()}


async def _parts(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Collect `chunks` into parts of the size S3 requires."""
    buffer: list[bytes] = []
    size = 0
    async for chunk in chunks:
        buffer.append(chunk)
        size += len(chunk)
        while size >= _PART:
            joined = b"".join(buffer)
            buffer, size = [joined[_PART:]], size - _PART
            yield joined[:_PART]
    if size:
        yield b"".join(buffer)


async def _read(spool: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await run_in_thread(spool.read, CHUNK):
        yield chunk
