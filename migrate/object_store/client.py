"""Requests to an object store: the only module that calls obstore.

Tests replace the store of a bucket (`use_store`) by one in memory, one that counts, or one that
stops the run at any request.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

from migrate.errors import (
    AccessError,
    LocalStorageError,
    MigrationError,
    RemoteUnavailableError,
    UsageError,
)
from migrate.object_store.address import Bucket, check_endpoint
from migrate.object_store.credentials import find_options

if TYPE_CHECKING:
    import obstore.store

# Of one request without a byte; a part of 100 MB at 1 MB/s takes longer, and is not cut off.
CONNECT_S = 10
READ_S = 60
# Attempts after a failure that may pass, with growing pauses; all of them within the time.
RETRIES_MAX = 8
RETRY_S = 180
PAUSE_S = 0.2  # before the second attempt; each further one is twice as long
PAUSE_MAX_S = 20.0
# One request creates at most this much (S3, R2); a part of a snapshot has about 64 MB.
CREATE_BYTES_MAX = 5 * 1024**3
# obstore does not send a create again whose answer was lost. A line that is down makes the next
# attempt fail while it connects, and that is tried again with pauses.
CREATES_MAX = 5
_CHUNK_BYTES = 1 << 20
_REGION = "us-east-1"  # of obstore, where none is named
_NO_BUCKET = "NoSuchBucket"
_AGAIN = "run the same command again: it resumes"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says of an object."""

    bytes: int
    etag: str  # names these bytes


class ObjectMissingError(Exception):
    """There is no object of this key."""


class ObjectStore:
    """The objects of one bucket, by key. Safe to use from several threads.

    Raises AccessError (exit 6) for refused credentials, UsageError for a bucket that does not
    exist, RemoteUnavailableError (exit 7) when no attempt succeeds.
    """

    def __init__(
        self, store: "obstore.store.ObjectStore", bucket: Bucket, endpoint: str | None = None
    ) -> None:
        """`endpoint` is where requests go; None: to the endpoint of the bucket."""
        self._store = store
        self._endpoint = endpoint or bucket.endpoint or _amazon(bucket.region)
        self._bucket = bucket
        self.keeps = False  # whether it keeps what is there, as a probe has shown

    def create(self, key: str, file: BinaryIO) -> bool:
        """Create an object of the file's bytes; False when one of this key is there already.

        After a lost answer it may be there because it was created here: the caller compares.
        """
        content = _content(file)
        for attempt in range(1, CREATES_MAX + 1):
            try:
                return self._create_once(key, content)
            except RemoteUnavailableError:
                if attempt == CREATES_MAX:
                    raise
        raise AssertionError

    def _create_once(self, key: str, content: bytes) -> bool:
        with self._asking("writing", key):
            try:
                self._store.put(key, content, mode="create", use_multipart=False)
            except _errors().AlreadyExistsError:
                return False
        return True

    def replace(self, key: str, file: BinaryIO) -> None:
        """Write an object, in place of one that is there."""
        with self._asking("writing", key):
            self._store.put(key, _content(file), mode="overwrite")

    def head(self, key: str) -> ObjectInfo | None:
        """Size and ETag; None when there is no such object."""
        with self._asking("looking for", key):
            try:
                found = self._store.head(key)
            except FileNotFoundError:
                return None
        return ObjectInfo(found["size"], found["e_tag"] or "")

    def fetch(self, key: str, info: ObjectInfo, out: BinaryIO) -> None:
        """Write exactly the bytes of `info` to a file. Raises ObjectMissingError.

        When others have replaced the object meanwhile, that is an error which passes.
        """
        with self._asking("reading", key):
            try:
                answer = self._store.get(key, options={"if_match": info.etag} if info.etag else {})
                blocks = iter(answer.stream(min_chunk_size=_CHUNK_BYTES))
            except FileNotFoundError as error:
                raise ObjectMissingError(key) from error
        size = 0
        while True:
            with self._asking("reading", key):
                block = next(blocks, None)
            if block is None:
                break
            size += out.write(block)  # an error of the disk is the caller's
        if size != info.bytes:
            raise RemoteUnavailableError(
                f"reading {self._address(key)}: found {size:,} B, expected {info.bytes:,}",
                remedy=_AGAIN,
            )

    def names(self, prefix: str) -> tuple[list[str], list[str]]:
        """The names of objects directly below a prefix, and those of folders; each once."""
        with self._asking("listing", prefix):
            found = self._store.list_with_delimiter(prefix or None)
        objects = [str(one["path"]).rpartition("/")[2] for one in found["objects"]]
        return objects, [str(one).rpartition("/")[2] for one in found["common_prefixes"]]

    def is_folder(self, prefix: str) -> bool:
        """Whether an object lies below a prefix."""
        with self._asking("listing", prefix):
            for block in self._store.list(f"{prefix}/" if prefix else None, chunk_size=1):
                return bool(block)
        return False

    def keys(self, prefix: str) -> list[str]:
        """The keys of everything below a prefix."""
        with self._asking("listing", prefix):
            listed = self._store.list(f"{prefix}/" if prefix else None)
            return [str(one["path"]) for block in listed for one in block]

    def remove(self, keys: list[str]) -> None:
        """Remove objects; an absent one is no error."""
        if keys:
            with self._asking("removing", keys[0]):
                try:
                    self._store.delete(keys)
                except FileNotFoundError:  # stores in memory and on disk say so
                    return

    def _address(self, key: str) -> str:
        return f"s3://{self._bucket.name}/{key}{self._bucket.query}"

    @contextmanager
    def _asking(self, doing: str, key: str) -> Iterator[None]:
        """Translate what obstore raises."""
        errors = _errors()
        try:
            yield
        except errors.AlreadyExistsError:
            raise
        except FileNotFoundError as error:  # of a write: there is no bucket
            raise self._failure(f"{doing} {self._address(key)}", _words(error)) from None
        except (errors.UnauthenticatedError, errors.PermissionDeniedError) as error:
            raise self._refused(f"{doing} {self._address(key)}", _words(error)) from None
        except errors.BaseError as error:
            raise self._failure(f"{doing} {self._address(key)}", _words(error)) from None

    def _refused(self, doing: str, words: str) -> AccessError:
        return AccessError(
            f"{doing}: refused ({words})",
            remedy="check the credentials (AWS_ACCESS_KEY_ID and its secret, AWS_PROFILE) and "
            "their rights: list, read and write objects of this bucket",
        )

    def _failure(self, doing: str, words: str) -> MigrationError:
        if any(sign in words for sign in _REFUSALS):
            return self._refused(doing, words)
        for sign, text, remedy in _PERMANENT:
            if sign in words:
                return UsageError(f"{doing}: {text} ({words})", remedy=remedy)
        if "credential" in words.lower() or "169.254.169.254" in words:
            return AccessError(
                f"{doing}: found no credentials ({words})",
                remedy="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
            )
        return RemoteUnavailableError(
            f"{doing}: {words}",
            remedy=f"check whether the endpoint {self._endpoint} can be reached from this machine, "
            f"then {_AGAIN}",
        )


_REFUSALS = ("401 Unauthorized", "403 Forbidden")  # of a listing: obstore has no type for them
_OTHER_REGION = ("the bucket is in another region", "add its region to the address: ?region=NAME")
_PERMANENT = (
    (_NO_BUCKET, "there is no such bucket", "create the bucket, or correct --dir"),
    ("incorrectly configured region", *_OTHER_REGION),
    ("PermanentRedirect", *_OTHER_REGION),
    ("AuthorizationHeaderMalformed", *_OTHER_REGION),
)


def missing(address: str) -> LocalStorageError:
    """The error for an object that has to be there."""
    return LocalStorageError(
        f"reading {address}: there is no such object",
        remedy="look whether it was removed; with a copy, put it back",
    )


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _words(error: Exception) -> str:
    """The part of a message that is for people."""
    text = str(error).partition("\n\nDebug source:")[0]
    return " ".join(text.split())[:500]


def _errors() -> Any:
    from obstore import exceptions  # noqa: PLC0415 - an extra of the distribution

    return exceptions


_REPLACED: dict[str, "obstore.store.ObjectStore"] = {}  # by tests: bucket name -> store


@contextmanager
def use_store(bucket: str, store: "obstore.store.ObjectStore") -> Iterator[None]:
    """Use this store for the bucket in this process while the block runs; for tests."""
    _REPLACED[bucket] = store
    open_store.cache_clear()
    try:
        yield
    finally:
        del _REPLACED[bucket]
        open_store.cache_clear()


@cache
def open_store(bucket: Bucket) -> ObjectStore:
    """The store of a bucket; one for the process. No request is sent yet."""
    if bucket.name in _REPLACED:
        return ObjectStore(_REPLACED[bucket.name], bucket)
    try:
        from obstore.exceptions import BaseError  # noqa: PLC0415 - an extra of the distribution
        from obstore.store import S3Store  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            f"found --dir in bucket {bucket.name}, and no library for object stores",
            remedy="pip install 'qdrant-to-vectorize[object-storage]'",
        ) from error
    options = find_options(bucket.endpoint, bucket.region)
    if "endpoint" in options:
        check_endpoint(f"bucket {bucket.name}", options["endpoint"])
    try:
        store = S3Store(
            bucket.name,
            config=options,  # type: ignore[arg-type]
            client_options={
                "allow_http": True,  # an address with http is refused unless it is loopback
                "connect_timeout": timedelta(seconds=CONNECT_S),
                "read_timeout": timedelta(seconds=READ_S),
                "timeout": timedelta(hours=1),
            },
            retry_config={
                "max_retries": RETRIES_MAX,
                "retry_timeout": timedelta(seconds=RETRY_S),
                "backoff": {
                    "init_backoff": timedelta(seconds=PAUSE_S),
                    "max_backoff": timedelta(seconds=PAUSE_MAX_S),
                    "base": 2,
                },
            },
        )
    except BaseError as error:
        raise UsageError(
            f"the object store of bucket {bucket.name} cannot be opened: {_words(error)}",
            remedy="correct the address, or the AWS variables",
        ) from None
    return ObjectStore(store, bucket, options.get("endpoint") or _amazon(options.get("region")))


def _amazon(region: str | None) -> str:
    """Where requests go that no endpoint is named for."""
    return f"https://s3.{region or _REGION}.amazonaws.com"


def as_file(content: bytes) -> BinaryIO:
    """Bytes as a file."""
    return io.BytesIO(content)
