"""Builds the blob store and the file access of attachments from the settings."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from outspool.adapters.blobs.local import LocalBlobs
from outspool.adapters.blobs.s3 import S3Blobs, S3Place
from outspool.adapters.blobs.s3_errors import not_installed_error
from outspool.adapters.files.operator_files import OperatorFiles
from outspool.adapters.files.private_files import SQLITE_SUFFIXES
from outspool.adapters.files.rooted_files import RootedFiles
from outspool.app.settings import Settings
from outspool.domain.email import Problem
from outspool.errors import MisconfiguredError, brief
from outspool.ports.files import BlobStore

logger = logging.getLogger(__name__)


def build_blob_store(settings: Settings) -> BlobStore:
    """Return the bucket if configured, else a folder in the data directory.

    Raises `MisconfiguredError` for half a pair of keys.
    """
    if not settings.aws_bucket_name:
        return LocalBlobs(settings.blobs_dir, is_shared=not settings.store_url.startswith("sqlite:"))
    secret = settings.aws_secret_access_key
    if (settings.aws_access_key_id is None) != (secret is None):
        raise MisconfiguredError(
            "Of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY only one is set.",
            "Set both; or neither, if this machine has a role of its own.",
        )
    place = S3Place(
        bucket=settings.aws_bucket_name,
        access_key_id=settings.aws_access_key_id,
        secret_access_key=secret.get_secret_value() if secret else None,
        region=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url,
        authorities=settings.aws_ca_bundle and settings.aws_ca_bundle.expanduser(),
    )
    return S3Blobs(place, scratch=settings.blobs_dir)


def find_missing_library(settings: Settings) -> Problem | None:
    """Return what is missing when a bucket is set without the libraries that speak to it; imports nothing."""
    if settings.aws_bucket_name is None or importlib.util.find_spec("aioboto3") is not None:
        return None
    return Problem.of(not_installed_error())


def warn_of_missing_library(settings: Settings) -> None:
    """Log at start what `find_missing_library` finds, since the first attachment may come much later."""
    if (problem := find_missing_library(settings)) is not None:
        logger.warning("%s %s", problem.message, problem.hint)


def build_rooted_files(settings: Settings) -> RootedFiles:
    """Return the files that callers may attach by path.

    Raises `MisconfiguredError` for a relative folder, or the root folder.
    """
    roots = []
    for setting in settings.attachment_roots:
        try:
            root = Path(setting).expanduser()
        except RuntimeError:
            root = Path(setting)  # the home of a user who does not exist, so it is no absolute folder
        if not root.is_absolute() or root == Path(root.anchor) or ".." in root.parts:
            raise MisconfiguredError(
                f"EMAIL_ATTACHMENT_ROOTS: {brief(setting)} is not a folder to take files from.",
                "Name absolute folders, separated by commas, each with nothing in it but what may be sent.",
            )
        roots.append(root)
    return RootedFiles(roots, private=settings.data_dir.expanduser().absolute(), own=list_own_files(settings))


def build_operator_files(settings: Settings) -> OperatorFiles:
    """Return the files that the operator may name on the command line."""
    return OperatorFiles(own=list_own_files(settings))


def list_own_files(settings: Settings) -> list[Path]:
    """Return the database's files, which may be outside the data directory."""
    prefix = "sqlite:///"
    if not settings.store_url.startswith(prefix):
        return []
    path = Path(settings.store_url.removeprefix(prefix))
    return [path.with_name(path.name + suffix) for suffix in SQLITE_SUFFIXES]
