"""The stages of a move as the simulation carries them out, and what the arithmetic says of each."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from random import Random

from benchmarks.scale import facts
from benchmarks.scale.arithmetic import (
    MBIT,
    USUAL_BODY,
    Size,
    figures,
    parts,
    read_rate,
    reading,
    rows_of_part,
)
from benchmarks.scale.events import (
    QUIET,
    Budget,
    Faults,
    Line,
    Loop,
    Outcome,
    Pause,
    Requests,
    Stage,
    Step,
    Units,
    World,
    simulate,
)
from migrate.model.limits import DELETE_IDS_MAX, FETCH_IDS_MAX
from migrate.plan import request_counts
from migrate.plan.estimate import ANSWER_BYTES_PER_VALUE
from q2v.settings.sections import LimitSettings
from reconcile.rollback.report import VECTORS_PER_NOTE
from reconcile.scan.vectors import REQUESTS_PER_NOTE
from reconcile.session import IDLE_S_MAX

EVENTS_MAX = 150_000  # of one task; beyond it an event stands for 10 or 100 requests
GROUPS = (1, 10, 100)
GIVE_UP = 2  # times the arithmetic
_HOUR, _DAY = 3_600.0, 86_400.0
_SETTINGS = LimitSettings()
ROUGH = Faults(
    failed=facts.FAILED_SHARE.value,
    limited=facts.LIMITED_SHARE.value,
    retry_after_s=facts.RETRY_AFTER_S.value,
    driver_s=facts.DRIVER_DAYS.value * _DAY,
    restart_s=facts.RESTART_S.value,
    worker_s=facts.WORKER_HOURS.value * _HOUR,
    respawn_s=facts.RESPAWN_S.value,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A stage of a size, over a line of its own."""

    stage: Stage
    line_mbit_per_s: float
    expected_s: float  # by the arithmetic
    unit_s: float  # the longest single task: how far both may be apart beside a share
    group: int = 1

    def run(self, faults: Faults = QUIET, *, seed: int = 1) -> Outcome:
        """Simulate it."""
        loop = Loop()
        world = World(
            loop=loop,
            budget=Budget(loop, round(facts.BUDGET.value / self.group)),
            line=Line(loop, self.line_mbit_per_s * MBIT),
            random=Random(seed),
            faults=faults,
        )
        return simulate(self.stage, world, give_up_s=GIVE_UP * self.expected_s)


def snapshot(size: Size, machines: int = 1) -> Case:
    """Ids counted, every part read, every part read again and compared."""
    rows = rows_of_part(size)
    body = rows * size.wire_bytes
    check_s = rows * facts.PART_BYTES[size.dimensions].value / facts.HASHED_BYTES_PER_S.value

    def read(rate: float) -> Units:
        work_s = rows / read_rate(rate, size)
        return Units(count=parts(size), bytes_each=body, work_s=work_s, workers=machines)

    first, again = read(facts.READ_PER_S.value), read(facts.AGAIN_PER_S.value)
    expected = reading(size, machines)
    return Case(
        stage=Stage(
            steps=(
                Step(task=Pause(seconds=expected.count_s)),
                Step(task=first, keeps_every=1, check_s=check_s),
                Step(task=again),
            )
        ),
        line_mbit_per_s=facts.SOURCE_MBIT_PER_S.value,
        expected_s=expected.seconds,
        unit_s=first.work_s + again.work_s + 2 * machines * body / _source_bytes_per_s(),
    )


def _source_bytes_per_s() -> float:
    return facts.SOURCE_MBIT_PER_S.value * MBIT


def _grouped(requests: int) -> int:
    """How many requests an event stands for."""
    return next((one for one in GROUPS if requests <= one * EVENTS_MAX), GROUPS[-1])


def _requests(count: int, *, group: int, size: float = 0.0, in_flight: int = 1) -> Requests:
    return Requests(
        count=ceil(count / group),
        bytes_each=size / max(1, count),
        answer_s=facts.REQUEST.value,
        in_flight=in_flight,
        group=group,
    )


def upload(size: Size, *, line_mbit_per_s: float = 1_000, body_bytes: int = USUAL_BODY) -> Case:
    """Uploads, the wait until they are processed, the KV index."""
    found = figures(size, line_mbit_per_s, body_bytes)
    group = _grouped(found.upload_requests)
    uploads = _requests(
        found.upload_requests,
        group=group,
        size=found.upload_bytes,
        in_flight=_SETTINGS.uploads_in_flight,
    )
    return Case(
        stage=Stage(
            steps=(
                Step(task=uploads, keeps_every=1),
                Step(task=Pause(seconds=facts.SETTLE.value)),
                Step(task=_requests(found.kv_requests, group=group)),
            )
        ),
        line_mbit_per_s=line_mbit_per_s,
        expected_s=found.upload_minutes * 60,
        unit_s=group * facts.REQUEST.value,
        group=group,
    )


def listing(size: Size) -> Case:
    """One walk over all ids: each page needs the cursor of the one before."""
    found = figures(size, 1_000)
    group = _grouped(found.list_requests)
    return Case(
        stage=Stage(steps=(Step(task=_requests(found.list_requests, group=group)),)),
        line_mbit_per_s=1_000,
        expected_s=found.list_minutes * 60,
        unit_s=group * facts.REQUEST.value,
        group=group,
    )


def read_back(size: Size, *, line_mbit_per_s: float = 1_000) -> Case:
    """A reconcile that reads every content over REST: ids, contents, the KV index."""
    found = figures(size, line_mbit_per_s)
    group = _grouped(found.content_requests)
    contents = _contents(size, group, found.content_requests)
    compare = request_counts.kv_compare_requests(size.files)
    return Case(
        stage=Stage(
            steps=(
                Step(task=_requests(found.list_requests, group=group)),
                Step(task=contents, keeps_every=max(1, REQUESTS_PER_NOTE // group)),
                Step(task=_requests(compare, group=group)),
            ),
            idle_s_max=IDLE_S_MAX,
        ),
        line_mbit_per_s=line_mbit_per_s,
        expected_s=found.reconcile_minutes * 60,
        unit_s=group * facts.REQUEST.value,
        group=group,
    )


def _contents(size: Size, group: int, requests: int) -> Requests:
    answer = facts.DIMENSIONS * ANSWER_BYTES_PER_VALUE + facts.METADATA_BYTES.value
    return _requests(
        requests,
        group=group,
        size=size.points * answer,
        in_flight=_SETTINGS.reads_in_flight,
    )


def rollback(size: Size, *, line_mbit_per_s: float = 1_000) -> Case:
    """Listings and KV entries undone, every vector compared and deleted, what is left listed.

    A driver that starts again lists and undoes the entries again; with the vectors it continues
    where the journal says.
    """
    found = figures(size, line_mbit_per_s)
    group = _grouped(found.rollback_requests)
    contents = _contents(size, group, found.content_requests)
    deletes = request_counts.undo_vector_requests(size.points) - found.content_requests
    small = found.rollback_requests - found.content_requests - deletes
    noted = VECTORS_PER_NOTE
    keeps = max(1, noted // FETCH_IDS_MAX // group), max(1, noted // DELETE_IDS_MAX // group)
    return Case(
        stage=Stage(
            steps=(
                Step(task=_requests(small, group=group), each_time=True),
                Step(task=contents, keeps_every=keeps[0]),
                Step(task=_requests(deletes, group=group), keeps_every=keeps[1]),
                Step(task=Pause(seconds=facts.SETTLE.value)),
            ),
        ),
        line_mbit_per_s=line_mbit_per_s,
        expected_s=found.rollback_minutes * 60,
        unit_s=group * facts.REQUEST.value,
        group=group,
    )


def snapshot_by_four(size: Size) -> Case:
    """A snapshot by four machines."""
    return snapshot(size, 4)


CASES: dict[str, Callable[[Size], Case]] = {
    "snapshot, 1 machine": snapshot,
    "snapshot, 4 machines": snapshot_by_four,
    "upload": upload,
    "listing": listing,
    "read-back by REST": read_back,
    "rollback by id": rollback,
}
