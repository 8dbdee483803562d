"""Object stores for tests: one in memory, and moto's server of S3 on this machine."""

import itertools
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from subprocess import DEVNULL
from unittest.mock import patch

import httpx
from moto.server import ThreadedMotoServer
from obstore.store import MemoryStore

from migrate.object_store.address import Bucket, ObjectAddress, parse_object_address
from migrate.object_store.client import open_store, use_store
from migrate.object_store.folder import ObjectFolder, object_folder
from tests.e2e.processes import wait_until
from tests.harness.running.programs import start_program
from tests.harness.running.workspace import REPOSITORY, ending

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key-of-a-test", "AWS_SECRET_ACCESS_KEY": "secret-of-a-test"}
_numbers = itertools.count()


@contextmanager
def objects_in_memory(local: Path) -> Iterator[ObjectFolder]:
    """A folder of a store in memory. As S3 it has conditional creates."""
    bucket = f"in-memory-{next(_numbers)}"
    with use_store(bucket, MemoryStore()):
        yield object_folder(ObjectAddress(Bucket(bucket), "dir"), local)


@cache
def _moto() -> str:
    """The address of moto's server; one for the process, ended with it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _takes_connections(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def gateway() -> str | None:
    """The program of a whole S3 server on files, where `make store-server` has installed it."""
    return shutil.which("versitygw", path=f"{REPOSITORY / 'build' / 'bin'}:{os.environ['PATH']}")


@contextmanager
def objects_of_gateway(local: Path) -> Iterator[ObjectFolder]:
    """A folder on a versitygw of its own, over real sockets."""
    program = gateway()
    assert program is not None
    bucket, port = f"bucket-{next(_numbers)}", _free_port()
    (local.parent / "gateway" / bucket).mkdir(parents=True)
    environment = {
        **os.environ,
        "ROOT_ACCESS_KEY": CREDENTIALS["AWS_ACCESS_KEY_ID"],
        "ROOT_SECRET_KEY": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    }
    words = [program, "--port", f"127.0.0.1:{port}", "posix", str(local.parent / "gateway")]
    with (
        ending(start_program(*words, env=environment, stdout=DEVNULL, stderr=DEVNULL)) as process,
        patch.dict(os.environ, CREDENTIALS),
    ):
        wait_until(process, lambda: _takes_connections(port))
        open_store.cache_clear()
        address = f"s3://{bucket}/dir?endpoint=http://127.0.0.1:{port}&region=us-east-1"
        yield object_folder(parse_object_address(address), local)
        open_store.cache_clear()


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of a folder of a new bucket on moto's server; credentials are set."""
    bucket, endpoint = f"bucket-{next(_numbers)}", _moto()
    with patch.dict(os.environ, CREDENTIALS):
        httpx.put(f"{endpoint}/{bucket}").raise_for_status()
        open_store.cache_clear()
        yield f"s3://{bucket}/dir?endpoint={endpoint}&region=us-east-1"
        open_store.cache_clear()


@contextmanager
def objects_of_moto(local: Path) -> Iterator[ObjectFolder]:
    """A folder on moto's server, over real sockets."""
    with s3_server() as address:
        yield object_folder(parse_object_address(address), local)


class CountedStore:
    """A store in memory in which every request is counted; before and after each one a test stands.

    Threads may call it: the numbers are those of the order in which the calls begin.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._numbers = itertools.count()
        self.before: Callable[[int, str, object], None] = lambda number, what, key: None
        self.after: Callable[[int, str, object], None] = lambda number, what, key: None
        self.requests: list[tuple[str, object]] = []

    def keys(self) -> list[str]:
        """Every key in the store."""
        return [str(one["path"]) for block in self._store.list() for one in block]

    def __getattr__(self, name: str) -> Callable[..., object]:
        call = getattr(self._store, name)

        def counted(*args: object, **more: object) -> object:
            number, key = next(self._numbers), args[0] if args else None
            self.requests.append((name, key))
            self.before(number, name, key)
            try:
                return call(*args, **more)
            finally:
                self.after(number, name, key)

        return counted


class ReplacingStore(CountedStore):
    """A store that takes `If-None-Match: *` and replaces the object all the same."""

    def put(self, path: str, content: bytes, *, mode: str, **more: object) -> object:
        return self._store.put(path, content, mode="overwrite")
