"""List all ids or keys of the target; a walk that fails starts over."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeVar

from migrate.errors import IndeterminateError
from migrate.mapping.kv_entries import index_of_key, key_prefix
from migrate.model.records import KvEntry, VectorId
from migrate.plan.record import RunPlan
from migrate.plan.request_counts import list_requests
from migrate.ports import KvTarget, Progress, VectorTarget
from migrate.runtime import Runtime
from migrate.tables.target_ids import ListedIds
from migrate.workers.ordered import ahead
from migrate.workers.repeat import retry_on

Walked = TypeVar("Walked")

WALKS_MAX = 3  # fault matrix K07, R04: after these the listing is indeterminate
RETRY_WAIT_S = 5.0
PAGES_AHEAD_MAX = 64  # of 1,000 ids; the pages before them are stored within seconds


def list_vectors(
    listed: ListedIds, target: VectorTarget, runtime: Runtime, *, expected: int | None
) -> int:
    """Store all ids of one walk in `listed`; return their number.

    `expected` is the likely number of ids, for the progress; None: unknown. With more than one
    read in flight, one thread requests the next pages while earlier ones are stored; each page
    needs the cursor of the one before, so further threads would not help. The ids of a walk that
    fails are dropped: pages of two walks never mix. Raises IndeterminateError when WALKS_MAX walks
    have failed.
    """
    held_max = PAGES_AHEAD_MAX if runtime.reads_in_flight > 1 else 1

    def walk() -> int:
        runtime.progress.start(
            "listing vectors",
            total=expected,
            unit="ids",
            requests=0 if expected is None else list_requests(expected),
        )
        with closing(ahead(iter(target.list_ids()), held_max=held_max)) as pages:
            return listed.replace(counted_pages(pages, runtime.progress))

    return walk_again("listing", walk, runtime)


def counted_pages(pages: Iterator[list[VectorId]], progress: Progress) -> Iterator[list[VectorId]]:
    """The pages, each of which advances the progress once it is stored."""
    for ids in pages:
        yield ids
        progress.advance(len(ids))


def list_keys(target: KvTarget, prefix: str, runtime: Runtime) -> list[KvEntry]:
    """All keys under `prefix` of one listing, without values. Raises as `list_vectors`."""
    return walk_again("listing keys", lambda: list(target.list_keys(prefix)), runtime)


def list_own_keys(target: KvTarget, plan: RunPlan, runtime: Runtime) -> list[KvEntry]:
    """All keys under the prefix of the run's file index, without those of other vector indexes."""
    listed = list_keys(target, key_prefix(plan.mapping), runtime)
    if plan.mapping.shards is None:
        return listed
    return [one for one in listed if index_of_key(one.key, plan.mapping, plan.writes) is None]


def walk_again(what: str, walk: Callable[[], Walked], runtime: Runtime) -> Walked:
    """The result of the first complete walk; `what` names it for the progress.

    Raises IndeterminateError after WALKS_MAX walks that failed.
    """
    return retry_on(
        IndeterminateError,
        walk,
        attempts_max=WALKS_MAX,
        wait_s=lambda *_: RETRY_WAIT_S,
        clock=runtime.clock,
        before_pause=lambda error, *_: runtime.progress.say(f"{what} starts over: {error}"),
    )
