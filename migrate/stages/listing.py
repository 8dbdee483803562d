"""Take one complete listing of the target, starting over when a walk breaks."""

from migrate.adapters.id_table import IdTable
from migrate.core.model import KvEntry
from migrate.core.request_counts import list_requests
from migrate.errors import IndeterminateError
from migrate.ports import Clock, KvTarget, Progress, VectorTarget

WALKS_MAX = 3  # FAULTS K07, R04: then the verdict is "could not tell"
RETRY_WAIT_S = 5.0


def list_vectors(
    table: IdTable,
    target: VectorTarget,
    *,
    expected: int | None,
    clock: Clock,
    progress: Progress,
) -> int:
    """All ids of one walk into the table; returns their number.

    `expected` of them are likely to be there, for the progress; None = nobody knows. A walk that
    breaks is dropped as a whole: pages of two walks never mix. Raises IndeterminateError when no
    walk comes to its end.
    """
    for attempt in range(1, WALKS_MAX + 1):
        table.clear_listed()
        progress.start(
            "listing vectors",
            total=expected,
            unit="ids",
            requests=0 if expected is None else list_requests(expected),
        )
        try:
            for ids in target.list_ids():
                table.add_listed(ids)
                progress.advance(len(ids))
        except IndeterminateError as error:
            if attempt == WALKS_MAX:
                raise
            progress.say(f"listing starts over: {error}")
            clock.wait(RETRY_WAIT_S)
        else:
            break
    return table.count_listed()


def list_keys(target: KvTarget, prefix: str, *, clock: Clock, progress: Progress) -> list[KvEntry]:
    """All keys under `prefix` of one listing, without values. Raises as `list_vectors`."""
    for attempt in range(1, WALKS_MAX + 1):
        try:
            return list(target.list_keys(prefix))
        except IndeterminateError as error:
            if attempt == WALKS_MAX:
                raise
            progress.say(f"listing keys starts over: {error}")
            clock.wait(RETRY_WAIT_S)
    raise AssertionError("the last walk returns or raises")
