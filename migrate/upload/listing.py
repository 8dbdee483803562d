"""Take one complete listing of the target, starting over when a walk breaks."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeVar

from migrate.errors import IndeterminateError
from migrate.model.records import KvEntry, VectorId
from migrate.plan.request_counts import list_requests
from migrate.ports import KvTarget, Progress, VectorTarget
from migrate.runtime import Runtime
from migrate.tables.target_ids import ListedIds
from migrate.workers.ordered import ahead
from migrate.workers.repeat import retry_on

Walked = TypeVar("Walked")

WALKS_MAX = 3  # fault matrix K07, R04: then the verdict is "could not tell"
RETRY_WAIT_S = 5.0
PAGES_AHEAD_MAX = 64  # of 1,000 ids; what storing the former ones takes is seconds at most


def list_vectors(
    listed: ListedIds, target: VectorTarget, runtime: Runtime, *, expected: int | None
) -> int:
    """All ids of one walk into `listed`; returns their number.

    `expected` of them are likely to be there, for the progress; None = nobody knows. With more
    than one read in flight a thread asks for the next pages while the former ones are stored; a
    walk goes from page to page, so that more would not help. One that breaks is dropped as a
    whole: pages of two walks never mix. Raises IndeterminateError when no walk comes to its end.
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
            return listed.replace(_counted(pages, runtime.progress))

    return _walk_again("listing", walk, runtime)


def _counted(pages: Iterator[list[VectorId]], progress: Progress) -> Iterator[list[VectorId]]:
    for ids in pages:
        yield ids
        progress.advance(len(ids))


def list_keys(target: KvTarget, prefix: str, runtime: Runtime) -> list[KvEntry]:
    """All keys under `prefix` of one listing, without values. Raises as `list_vectors`."""
    return _walk_again("listing keys", lambda: list(target.list_keys(prefix)), runtime)


def _walk_again(what: str, walk: Callable[[], Walked], runtime: Runtime) -> Walked:
    """What a walk returns that comes to its end. Raises IndeterminateError after WALKS_MAX."""
    return retry_on(
        IndeterminateError,
        walk,
        attempts_max=WALKS_MAX,
        wait_s=lambda *_: RETRY_WAIT_S,
        clock=runtime.clock,
        before_pause=lambda error, *_: runtime.progress.say(f"{what} starts over: {error}"),
    )
