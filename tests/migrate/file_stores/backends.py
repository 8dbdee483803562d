"""Services behind the two stores: Qdrant embedded and served, Vectorize and KV in the sandbox."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from qdrant_client import QdrantClient

from migrate.clock import SystemClock
from migrate.cloudflare.budget.budget import RequestBudget
from migrate.cloudflare.client.base_url import parse_base_url
from migrate.cloudflare.client.client import Account, CloudflareHttp
from migrate.cloudflare.kv import WorkersKvTarget
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.file_stores.contract import FileStore
from migrate.file_stores.qdrant_store import QdrantFileStore
from migrate.file_stores.rules import FileStoreRules
from migrate.file_stores.sharded_store import ShardedFileStore
from migrate.file_stores.vectorize_store import VectorizeFileStore
from migrate.mapping.shards import counter_key_of
from migrate.ports import Clock, Target
from migrate.runtime import NoProgress, Runtime
from migrate.upload.settle import SettleRules
from sandbox.app import ACCOUNT_ID, API_TOKEN, create_app
from sandbox.exchange.request_log import RequestLog
from sandbox.profile import INSTANT, STRICT, Profile
from sandbox.server import running_sandbox
from sandbox.store import SandboxStore
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.silence import Silence
from tests.harness.fakes.steps import Steps
from tests.harness.network import InProcessNetwork
from tests.harness.running.target import INDEX
from tests.harness.world import BASE_URL, TOKEN, World, WorldClock
from tests.migrate.file_stores.cases import DIMENSIONS, rules
from tests.servers.qdrant_points import StoredCollection
from tests.servers.qdrant_rest import rest_server

COLLECTION = "chunks"
SANDBOX_REQUESTS = 1_000_000  # in five minutes; the client keeps to fewer
REQUESTS = 1_200


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the target holds, seen past the API."""

    ids: list[str]  # sorted
    entries: dict[str, list[str]]  # every key but the counter's
    expirations: dict[str, int | None]
    counter: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One service, and a way to open stores in it."""

    open: Callable[[], FileStore]  # as a new process does
    held: Callable[[], Held] | None = None  # None: there is no KV index
    wait: Callable[[], None] = lambda: None  # until no read shows a former state


class SharedClock(VirtualClock):
    """The time of the tool and of the sandbox; it passes in waits alone."""

    def now(self) -> float:
        """The sandbox's clock."""
        return self.wall_s()


@dataclass(kw_only=True)
class Edge:
    """The sandbox without sockets, and the real clients of it."""

    store: SandboxStore
    namespace_id: str
    http: CloudflareHttp
    clock: SharedClock | WorldClock
    log: RequestLog
    profile: Profile
    steps: Steps
    progress: Silence = field(default_factory=Silence)
    kv_settle_s: float = 0.0

    def open(self, given: FileStoreRules | None = None) -> VectorizeFileStore:
        """A store, as a new process opens it."""
        target = Target(
            VectorizeTarget(self.http, INDEX), WorkersKvTarget(self.http, self.namespace_id)
        )
        return VectorizeFileStore(
            target,
            given or rules(),
            Runtime(clock=self.clock, progress=self.progress, reads_in_flight=1),
            settle=SettleRules(timeout_s=600, poll_s=1),
            kv_settle_s=self.kv_settle_s,
        )

    def held(self) -> Held:
        """What the sandbox holds."""
        return _held(self.store, self.namespace_id)

    def settle(self) -> None:
        """Let time pass until no read shows a former state."""
        profile = self.profile
        self.clock.wait(max(profile.kv_visible_after_s, profile.stale_age_s))

    def requests(self) -> list[str]:
        """The last segment of the path of each request so far."""
        return [record.path.rsplit("/", 1)[1] for record in self.log.records()]


@contextmanager
def edge(
    folder: Path,
    *,
    profile: Profile = INSTANT,
    steps: Steps | None = None,
    with_index: bool = True,
) -> Iterator[Edge]:
    """An empty vector index (or none) and an empty namespace."""
    clock, log, steps = SharedClock(), RequestLog(), steps or Steps()
    profile = replace(profile, requests_per_5min=SANDBOX_REQUESTS)
    app = create_app(folder / "target", profile=profile, clock=clock, log=log)
    with closing(app):
        if with_index:
            app.store.create_vector_index(INDEX, DIMENSIONS, "cosine")
        namespace_id = app.store.create_kv_namespace("files")
        http = CloudflareHttp(
            Account(parse_base_url("http://127.0.0.1:1/client/v4"), ACCOUNT_ID, API_TOKEN),
            budget=RequestBudget(None, clock=clock, requests_max=REQUESTS),
            clock=clock,
            jitter=lambda: 0.5,
            transport=InProcessNetwork(app, steps),
        )
        with closing(http):
            yield Edge(
                store=app.store,
                namespace_id=namespace_id,
                http=http,
                clock=clock,
                log=log,
                profile=profile,
                steps=steps,
                # What a new process may not see yet, with the misses that are cached.
                kv_settle_s=profile.kv_visible_after_s + profile.kv_miss_cached_s,
            )


@contextmanager
def edge_of(world: World) -> Iterator[Edge]:
    """The target of a world, with what its runs have written."""
    steps = Steps()
    http = CloudflareHttp(
        Account(parse_base_url(BASE_URL), ACCOUNT_ID, TOKEN),
        budget=RequestBudget(None, clock=world.clock, requests_max=REQUESTS),
        clock=world.clock,
        jitter=lambda: 0.5,
        transport=InProcessNetwork(world.app, steps),
    )
    with closing(http):
        yield Edge(
            store=world.app.store,
            namespace_id=world.namespace_id,
            http=http,
            clock=world.clock,
            log=world.log,
            profile=INSTANT,
            steps=steps,
        )


def _held(store: SandboxStore, namespace_id: str) -> Held:
    counter_key = rules().writes.counter_key
    stored = list(store.read_kv(namespace_id))
    values = {key: value for key, value, _, _ in stored}
    counter = values.pop(counter_key, None)
    return Held(
        ids=sorted(vector_id for vector_id, *_ in store.read_vectors(INDEX)),
        entries={key: json.loads(value) for key, value in values.items()},
        expirations={key: expiration for key, _, _, expiration in stored},
        counter=None if counter is None else int(counter),
    )


# --- backends for the conformance suite ----------------------------------------------------------


def qdrant_store(client: QdrantClient, clock: Clock) -> QdrantFileStore:
    """A store over a client."""
    runtime = Runtime(clock=clock, progress=NoProgress())
    return QdrantFileStore(client, COLLECTION, rules(), runtime)


@contextmanager
def qdrant_in_memory(_folder: Path) -> Iterator[Backend]:
    """The embedded store, in memory."""
    with closing(QdrantClient(":memory:")) as client:
        yield Backend(open=lambda: qdrant_store(client, VirtualClock()))


@contextmanager
def qdrant_in_folder(folder: Path) -> Iterator[Backend]:
    """The embedded store, on disk; a restart opens the folder again."""
    clients: list[QdrantClient] = []

    def reopened() -> FileStore:
        for client in clients:
            client.close()
        clients[:] = [QdrantClient(path=str(folder / "qdrant"))]
        return qdrant_store(clients[0], VirtualClock())

    try:
        yield Backend(open=reopened)
    finally:
        for client in clients:
            client.close()


@contextmanager
def qdrant_served(_folder: Path) -> Iterator[Backend]:
    """A server, over REST."""
    collection = StoredCollection(name=COLLECTION, is_missing=True, is_writable=True)
    with (
        rest_server(collection) as server,
        closing(QdrantClient(url=server.url, check_compatibility=False, timeout=60)) as client,
    ):
        yield Backend(open=lambda: qdrant_store(client, VirtualClock()))


@contextmanager
def vectorize_instant(folder: Path) -> Iterator[Backend]:
    """The sandbox without delays."""
    with edge(folder, with_index=False) as opened:
        yield Backend(open=opened.open, held=opened.held)


@contextmanager
def vectorize_strict(folder: Path) -> Iterator[Backend]:
    """The sandbox with the service's delays, stale reads and partial successes."""
    with edge(folder, profile=STRICT, with_index=False) as opened:
        yield Backend(open=opened.open, held=opened.held, wait=opened.settle)


INDEXES = ("wiki-0", "wiki-1", "wiki-2")


@contextmanager
def several_indexes(folder: Path) -> Iterator[Backend]:
    """Three vector indexes with one namespace, in the sandbox with the service's delays."""
    with edge(folder, profile=STRICT, with_index=False) as opened:
        kv = WorkersKvTarget(opened.http, opened.namespace_id)

        def open_store() -> ShardedFileStore:
            return ShardedFileStore(
                {name: VectorizeTarget(opened.http, name) for name in INDEXES},
                kv,
                rules(),
                Runtime(clock=opened.clock, progress=opened.progress, reads_in_flight=1),
                settle=SettleRules(timeout_s=600, poll_s=1),
                kv_settle_s=opened.kv_settle_s,
            )

        yield Backend(
            open=open_store,
            held=lambda: _held_by_several(opened.store, opened.namespace_id),
            wait=opened.settle,
        )


def _held_by_several(store: SandboxStore, namespace_id: str) -> Held:
    """As `_held`; every entry names the index that holds its vectors."""
    ids = {name: {one for one, *_ in store.read_vectors(name)} for name in INDEXES}
    entries: dict[str, list[str]] = {}
    counters: dict[str, int] = {}
    for key, value, metadata, _ in store.read_kv(namespace_id):
        if metadata is None:
            counters[key] = int(value)
            continue
        assert isinstance(metadata, dict)
        entries[key] = json.loads(value)
        assert set(entries[key]) <= ids[str(metadata["index"])]
    expected = {counter_key_of(rules().writes.counter_key, one): len(ids[one]) for one in INDEXES}
    assert counters == expected
    return Held(
        ids=sorted(one for some in ids.values() for one in some),
        entries=entries,
        expirations={},
        counter=sum(counters.values()),
    )


@contextmanager
def vectorize_served(folder: Path) -> Iterator[Backend]:
    """The sandbox behind a socket."""
    clock = SystemClock()
    profile = replace(INSTANT, requests_per_5min=SANDBOX_REQUESTS)
    with running_sandbox(folder / "target", profile=profile) as served:
        namespace_id = served.store.create_kv_namespace("files")
        http = CloudflareHttp(
            Account(parse_base_url(served.base_url), served.account_id, served.api_token),
            budget=RequestBudget(None, clock=clock, requests_max=REQUESTS),
            clock=clock,
            jitter=lambda: 0.5,
        )
        target = Target(VectorizeTarget(http, INDEX), WorkersKvTarget(http, namespace_id))
        with closing(http):
            yield Backend(
                open=lambda: VectorizeFileStore(
                    target,
                    rules(),
                    Runtime(clock=clock, progress=NoProgress(), reads_in_flight=8),
                    settle=SettleRules(timeout_s=60, poll_s=0.01),
                    kv_settle_s=0,
                ),
                held=lambda: _held(served.store, namespace_id),
            )


BACKENDS: dict[str, Callable[[Path], AbstractContextManager[Backend]]] = {
    "qdrant-in-memory": qdrant_in_memory,
    "qdrant-in-folder": qdrant_in_folder,
    "qdrant-served": qdrant_served,
    "vectorize-instant": vectorize_instant,
    "vectorize-strict": vectorize_strict,
    "vectorize-served": vectorize_served,
    "several-indexes": several_indexes,
}
