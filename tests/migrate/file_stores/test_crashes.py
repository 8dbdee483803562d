"""A kill before or after every request of a call, and the same call again by a new process.

"After request k" is "before request k + 1". The state at the end is that of an undisturbed call,
and at no moment does an entry name a vector that the index has not taken.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from qdrant_client import QdrantClient, models

from migrate.file_stores.contract import FileStore
from sandbox.profile import INSTANT, STRICT, Profile
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.steps import KilledError, Steps
from tests.harness.running.target import INDEX
from tests.harness.tiers import some_of_each, struck_at
from tests.migrate.file_stores.backends import Edge, edge, qdrant_store
from tests.migrate.file_stores.cases import rules, vector, vectors

Call = Callable[[FileStore], None]


def _long_ids(count: int) -> list[str]:
    return [one.id for one in vectors("long", count)]


# Each needs several requests of a kind where it can.
CALLS: dict[str, Call] = {
    "initialize": lambda store: store.initialize_collection(),
    "upsert of new and known files": lambda store: store.upsert_vectors(
        [*vectors("new", 25), *vectors("a", 2, first=2, version=2)]
    ),
    "upsert of a shorter whole file": lambda store: store.upsert_vectors(
        [*vectors("long", 3, first=101, version=2), vector("a", 9)], whole_files=True
    ),
    "deletion of ids": lambda store: store.delete_vectors_by_ids(
        [*_long_ids(101), "a_1", "b_0", "absent_7"]
    ),
    "deletion of a file": lambda store: store.delete_vectors_by_file_id("long"),
}


def prepare(store: FileStore) -> None:
    """What is there before the call."""
    store.initialize_collection()
    store.upsert_vectors([*vectors("long", 105), *vectors("a", 3), *vectors("b", 1)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What a life of the target led to."""

    digest: str
    counter: int | None
    vectors: int
    requests: list[str]  # of the call that was killed, or of the undisturbed one
    killed: bool


def live(folder: Path, call: Call, *, profile: Profile, strike_at: int) -> Ending:
    """Prepare, call with a kill before request `strike_at` (0: none), and call again."""
    steps = Steps()
    given = rules(vectors_per_upload=12)  # a call sends several uploads
    with edge(folder, profile=profile, with_index=False, steps=steps) as site:
        prepare(site.open())
        site.settle()
        before = len(steps.done)
        known = set(site.held().ids)
        steps.strike_at = before + strike_at if strike_at else 0
        store, killed = site.open(given), False
        try:
            call(store)
        except KilledError:
            killed = True
        requests = [step.place for step in steps.done[before:]]
        steps.strike_at, steps.dead = 0, False
        if killed:
            check_entries(site, known)
            call(site.open(given))
        site.settle()
        held = site.held()
        assert held.counter == len(held.ids)
        named = sorted(one for ids in held.entries.values() for one in ids)
        assert named == held.ids
        return Ending(
            digest=site.store.state_digest(INDEX, site.namespace_id),
            counter=held.counter,
            vectors=len(held.ids),
            requests=requests,
            killed=killed,
        )


def check_entries(site: Edge, known: set[str]) -> None:
    """No entry names a vector that the index neither held before nor has taken since."""
    site.clock.wait(site.profile.commit_delay_s)
    site.settle()
    taken = known | set(site.held().ids)
    named = {one for ids in site.held().entries.values() for one in ids}
    assert named <= taken


WRITES = "/upsert", "/delete_by_ids", "/bulk", "/bulk/delete"


def _some_requests(kinds: Sequence[str]) -> list[int]:
    return some_of_each(kinds, lambda kind: kind.endswith(WRITES))


@pytest.mark.fault("T06")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "profile"),
    [*((name, INSTANT) for name in CALLS), ("upsert of a shorter whole file", STRICT)],
    ids=lambda value: getattr(value, "name", value),
)
@struck_at(_some_requests)
def test_the_same_call_after_a_kill_at_any_request_leaves_what_an_undisturbed_one_leaves(
    name: str, profile: Profile, tmp_path: Path, chosen: Callable[[Sequence[str]], list[int]]
) -> None:
    undisturbed = live(tmp_path / "0", CALLS[name], profile=profile, strike_at=0)
    assert len(undisturbed.requests) >= 4
    for at in chosen(undisturbed.requests):
        ending = live(tmp_path / str(at), CALLS[name], profile=profile, strike_at=at)
        assert ending.killed
        assert ending.digest == undisturbed.digest, f"killed before request {at}"


class MortalClient:
    """A client of Qdrant, and a kill before its call number `strike_at` from 1 (0: none)."""

    def __init__(self, client: QdrantClient, strike_at: int) -> None:
        self._client = client
        self._strike_at = strike_at
        self.calls = 0

    def __getattr__(self, name: str) -> Callable[..., object]:
        """A method of the client, counted."""
        method: Callable[..., object] = getattr(self._client, name)

        def counted(*args: object, **more: object) -> object:
            self.calls += 1
            if self.calls == self._strike_at:
                raise KilledError
            return method(*args, **more)

        return counted


@pytest.mark.fault("T06")
@pytest.mark.parametrize("name", CALLS)
def test_in_qdrant_too_the_same_call_after_a_kill_leaves_what_an_undisturbed_one_leaves(
    name: str,
) -> None:
    def live_in_qdrant(strike_at: int) -> tuple[list[models.Record], bool, int]:
        with closing(QdrantClient(":memory:")) as client:
            prepare(qdrant_store(client, VirtualClock()))
            mortal, killed = MortalClient(client, strike_at), False
            try:
                CALLS[name](qdrant_store(mortal, VirtualClock()))  # type: ignore[arg-type]
            except KilledError:
                killed = True
                CALLS[name](qdrant_store(client, VirtualClock()))
            found, _ = client.scroll("chunks", limit=1_000, with_vectors=True)
            return found, killed, mortal.calls

    undisturbed, _, calls = live_in_qdrant(0)
    for at in range(1, calls + 1):
        found, killed, _ = live_in_qdrant(at)
        assert killed
        for left, right in zip(found, undisturbed, strict=True):
            assert (left.id, left.payload) == (right.id, right.payload), f"killed at call {at}"
            # The embedded store rounds a vector that is replaced in another way.
            assert left.vector == pytest.approx(right.vector, abs=1e-6)
    assert calls >= 2
