"""Is what the pages hold all that the source counts? Asked before and after a snapshot is read.

A count that differs from the pages once is a writer at work. The same two numbers over repeated
readings are none: some points are counted that no page shows, or the other way round, and no
freeze will change that.
"""

from collections.abc import Sequence

from migrate.errors import PreconditionError
from migrate.model.records import Collection
from migrate.ports import PointSource
from migrate.runtime import Runtime
from migrate.snapshot.agreement import Agreement, Reading, judge
from migrate.snapshot.walk import walk_ids
from migrate.workers.ordered import wait_or_cancel

ID_PAGE_POINTS = 10_000  # ids alone are cheap: 20,000 took 0.1 s (docs/services.md)
READINGS = 4  # of count and ids, the first one included
PAUSE_S = 2.0  # between two of them
FREEZE = "stop the writers (RUNBOOK: freeze), then run `q2v snapshot` again"


def read_again(source: PointSource, first: Reading, runtime: Runtime) -> list[Reading]:
    """The first reading, which disagreed, and further ones some seconds apart."""
    runtime.progress.say(
        f"the source counts {first.count} points and its pages hold {first.ids}; "
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
    """Raises PreconditionError when count and pages disagree for good.

    A source that is being written passes: the reader compares again at the end.
    """
    if first.count == first.ids:
        return
    readings = read_again(source, first, runtime)
    if judge(readings) is Agreement.PERMANENT:
        raise disagreement(collection, readings)


def check_hidden(collection: Collection) -> None:
    """Raises PreconditionError while the source holds points that no reading can show."""
    if collection.hidden:
        raise PreconditionError(
            f"collection '{collection.name}' cannot be read whole: "
            f"{'; '.join(collection.hidden)}; neither counts nor pages hold them",
            remedy=f"wait until GET /collections/{collection.name} shows an update_queue with "
            "length 0 and no deferred_points (switch optimizer_config.prevent_unoptimized off if "
            "it stays), then run the same command again",
        )


def disagreement(collection: Collection, readings: Sequence[Reading]) -> PreconditionError:
    """The error for readings that disagreed; its words follow from what they show."""
    first = readings[0]
    numbers = f"counts {first.count} points and its pages hold {first.ids}"
    match judge(readings):
        case Agreement.PERMANENT:
            return PreconditionError(
                f"collection '{collection.name}' {numbers}, the same in {len(readings)} readings: "
                f"no writer does that; {_cause(collection)}",
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
                f"the source moved: {first.ids} points were read twice, it now counts "
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
        "Active and nothing running; if the numbers stay apart, copy the points into a new "
        "collection and move that"
    )
