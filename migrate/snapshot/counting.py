"""Compare the source's count with the ids of its pages, before and after a snapshot is read.

A count that differs from the pages once is caused by a writer. The same two numbers in repeated
readings are not: then some counted points are in no page, or the reverse, and stopping the writers
does not change that.
"""

from collections.abc import Mapping, Sequence

from migrate.errors import PreconditionError
from migrate.model.records import (
    Collection,
    ShardKey,
    ShardKeyCount,
    name_shard_key,
    order_shard_keys,
)
from migrate.ports import PointSource
from migrate.runtime import Runtime
from migrate.snapshot.agreement import Agreement, Reading, judge
from migrate.snapshot.manifest import SnapshotManifest
from migrate.snapshot.walk import walk_ids
from migrate.words import counted, subject
from migrate.workers.ordered import wait_or_cancel

ID_PAGE_POINTS = 10_000  # ids alone are cheap: 20,000 took 0.1 s (docs/services.md)
READINGS = 4  # of count and ids, the first one included
PAUSE_S = 2.0  # between two readings
FREEZE = "stop the writers (RUNBOOK: freeze), then run `q2v snapshot` again"


def read_again(source: PointSource, first: Reading, runtime: Runtime) -> list[Reading]:
    """Return the first reading, which disagreed, and further readings some seconds apart."""
    runtime.progress.say(
        f"the source counts {counted(first.count, 'point')} and its pages hold {first.ids}; "
        f"counting {READINGS - 1} times more"
    )
    readings = [first]
    while len(readings) < READINGS:
        wait_or_cancel(runtime.clock, PAUSE_S)
        count = source.count_points()
        ids = sum(len(some) for some in walk_ids(source, limit=ID_PAGE_POINTS))
        readings.append(Reading(count, ids))
    return readings


def check_counted(
    source: PointSource, collection: Collection, first: Reading, runtime: Runtime
) -> None:
    """Raises PreconditionError when count and pages disagree permanently.

    A source that is being written to is accepted: the reader compares again at the end.
    """
    if first.count == first.ids:
        return
    readings = read_again(source, first, runtime)
    if judge(readings) is Agreement.PERMANENT:
        raise disagreement(collection, readings)


def no_points(source: PointSource, collection: Collection) -> PreconditionError:
    """The error for a source of which nothing would move."""
    wanted = source.identity().get("filter")
    if wanted is not None:
        return PreconditionError(
            f"no point of collection '{collection.name}' matches source.filter, which is {wanted}; "
            f"it leaves out {counted(source.count_left_out() or 0, 'point')}",
            remedy="correct the names and values in source.filter, or pass --allow-empty",
        )
    return PreconditionError(
        f"collection '{collection.name}' holds no points",
        remedy="check the collection's name, or pass --allow-empty",
    )


def check_hidden(collection: Collection) -> None:
    """Raises PreconditionError while the source holds points that no request returns."""
    if collection.hidden:
        raise PreconditionError(
            f"collection '{collection.name}' cannot be read whole: "
            f"{'; '.join(collection.hidden)}; neither counts nor pages hold them",
            remedy=f"wait until GET /collections/{collection.name} shows an update_queue with "
            "length 0 and no deferred_points (switch optimizer_config.prevent_unoptimized off if "
            "it does not change), then run the same command again",
        )


def check_same_sharding(collection: Collection, sealed: SnapshotManifest) -> None:
    """Raises PreconditionError when only one of the two has shard keys."""
    if (collection.shard_keys is None) != (sealed.shard_keys is None):
        has, had = ("has", "had none") if sealed.shard_keys is None else ("has no", "had some")
        raise PreconditionError(
            f"collection '{collection.name}' {has} shard keys, and {had} when snapshot "
            f"{sealed.snapshot_id} was taken",
            remedy="the collection was created again: take a new snapshot with `q2v snapshot`, and "
            "migrate it into a fresh index",
        )


def check_same_keys(before: Collection, now: Collection, remedy: str = FREEZE) -> None:
    """Raises PreconditionError for a shard key that was made or removed while points were read."""
    former, found = _keys(before), _keys(now)
    if former == found:
        return
    changes = [f"{name_shard_key(key)} was made" for key in order_shard_keys(found - former)]
    changes += [f"{name_shard_key(key)} was removed" for key in order_shard_keys(former - found)]
    raise PreconditionError(
        f"the shard keys of collection '{now.name}' changed while it was read: "
        f"{', '.join(changes)}",
        remedy=remedy,
    )


def _keys(collection: Collection) -> set[ShardKey]:
    return {one.key for one in collection.shard_keys or ()}


def sealed_keys(
    collection: Collection, read: Mapping[ShardKey, int], *, moving: bool
) -> tuple[ShardKeyCount, ...] | None:
    """Every shard key with the points that were `read` under it; None without custom sharding.

    Raises PreconditionError when the source counts other points under a key, unless `moving`.
    """
    if collection.shard_keys is None:
        return None
    for one in () if moving else collection.shard_keys:
        if read.get(one.key, 0) != one.points:
            raise PreconditionError(
                f"collection '{collection.name}' counts {counted(one.points, 'point')} under "
                "shard key "
                f"{name_shard_key(one.key)}, and its pages hold {read.get(one.key, 0)}",
                remedy=FREEZE,
            )
    keys = order_shard_keys([*_keys(collection), *read])
    return tuple(ShardKeyCount(key=key, points=read.get(key, 0)) for key in keys)


def disagreement(collection: Collection, readings: Sequence[Reading]) -> PreconditionError:
    """Build the error for readings that disagreed, by their classification."""
    first = readings[0]
    numbers = f"counts {counted(first.count, 'point')} and its pages hold {first.ids}"
    match judge(readings):
        case Agreement.PERMANENT:
            return PreconditionError(
                f"collection '{collection.name}' {numbers}, the same in "
                f"{counted(len(readings), 'reading')}: "
                f"a writer does not cause this; {_cause(collection)}",
                remedy=_repair(collection),
            )
        case Agreement.ALTERNATING:
            counts = ", ".join(str(reading.count) for reading in readings)
            ids = ", ".join(str(reading.ids) for reading in readings)
            return PreconditionError(
                f"collection '{collection.name}' answers with changing numbers that come back: it "
                f"counts {counts} and its pages hold {ids}; {_cause(collection)}",
                remedy=f"{_repair(collection)}; if writers add and delete points, stop them first "
                "(RUNBOOK: freeze)",
            )
        case Agreement.MOVING:
            return PreconditionError(
                f"the source changed: {subject(first.ids, 'point', 'was')} read twice, it now "
                "counts "
                f"{first.count}",
                remedy=FREEZE,
            )


def _cause(collection: Collection) -> str:
    if not collection.suspects:
        return "its description names no cause"
    return f"likely cause: {'; or '.join(collection.suspects)}"


def _repair(collection: Collection) -> str:
    return (
        f"on a server, wait until GET /collections/{collection.name}/cluster shows every replica "
        "Active and nothing running; if the numbers still differ, copy the points into a new "
        "collection and move that"
    )
