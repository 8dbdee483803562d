"""The folder of one run: its plan, its journal, its quarantine list, its pre-images."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from migrate.errors import ForeignStateError, PreconditionError, UsageError
from migrate.mapping.payload import Quarantined, Reason, encode_kv_key
from migrate.model.sealed_json import damaged
from migrate.model.stamps import name_stamp
from migrate.plan.difference import (
    Comparison,
    Difference,
    read_difference,
    write_difference,
)
from migrate.plan.quarantine import QuarantinedPoint, decode_quarantined
from migrate.plan.record import RunPlan, decode_plan, encode_plan
from migrate.run.journal import Kind, RunState, fold_run
from migrate.run.targets import (
    Selection,
    check_targets,
    read_targets,
    targets_schema,
    write_targets,
)
from migrate.snapshot.folder import Snapshot
from migrate.storage.folder import Folder, WorkFolder
from migrate.storage.journal_file import JournalFile
from migrate.storage.journal_lines import JOURNAL_FORMAT
from migrate.storage.layout import (
    DIFFERENCE,
    JOURNAL,
    PLAN,
    PRE_IMAGES,
    QUARANTINE,
    RECONCILE,
    ROLLBACK,
    SPILL,
    TARGETS,
    index_of_run,
    run_name,
)
from migrate.tables.row_set import RowSet

PLAN_BYTES_MAX = 4 * 1024 * 1024  # a plan is a few kB
REPORT_BYTES_MAX = 4 * 1024 * 1024  # counts and paths; ids lie in files beside it
QUARANTINE_BYTES_MAX = 1024 * 1024 * 1024  # a line is about 200 B, however many may be left out


class RunFolder:
    """An opened run. Every file is checked against the plan before it is used."""

    def __init__(self, folder: WorkFolder, snapshot: Snapshot, *, read_only: bool = False) -> None:
        """Read plan, journal and quarantine list; `read_only` for a caller without the lock.

        Raises UsageError when the folder holds no run, ForeignStateError when it belongs to
        another snapshot, ArtefactDamagedError when a file was changed.
        """
        if not folder.has_file(PLAN):
            raise UsageError(
                f"{folder}: no run ({PLAN} is missing)", remedy="name a folder under runs/"
            )
        folder.refuse_links(PRE_IMAGES, RECONCILE, ROLLBACK)
        self.folder = folder
        self.snapshot = snapshot
        self.plan: RunPlan = read_plan(folder, snapshot)
        quarantine = folder.file(QUARANTINE)
        if not quarantine.is_there():
            raise damaged(str(quarantine), "the file is missing")
        if quarantine.hash()[1] != self.plan.quarantine_sha256:
            raise damaged(str(quarantine), "not the list the plan was made with")
        self.journal = JournalFile(folder)
        self._folded: tuple[int, RunState] | None = None  # number of entries, and their state
        self._check_opened(folder.file(PLAN).hash()[1], read_only=read_only)

    def _check_opened(self, plan_sha256: str, *, read_only: bool) -> None:
        state = self.state()
        if state.run_id is None:  # killed between plan and journal: nothing was written yet
            if self.pre_images.names():
                raise damaged(
                    str(self.journal.file),
                    "the journal is missing or empty, and the run has pre-images",
                    remedy="restore the file from a copy of the run folder; do not continue this "
                    "run: without its journal q2v does not know what it has written",
                )
            if read_only:
                return
            self.journal.append(
                {
                    "type": Kind.RUN_OPENED.value,
                    "format": JOURNAL_FORMAT,
                    "run_id": self.plan.run_id,
                    "plan_sha256": plan_sha256,
                }
            )
        elif (state.run_id, state.plan_sha256) != (self.plan.run_id, plan_sha256):
            raise ForeignStateError(
                f"{self.folder}: the journal belongs to run {state.run_id} with plan "
                f"{state.plan_sha256}, plan.json is run {self.plan.run_id} with {plan_sha256}",
                remedy="restore the run folder from a copy",
            )

    def state(self) -> RunState:
        """The state that the journal's entries fold to; the caller does not change it.

        A state does not change later. The entries are folded again only when there are more.
        """
        entries = self.journal.entries
        if self._folded is None or self._folded[0] != len(entries):
            try:
                self._folded = len(entries), fold_run(entries)
            except ValueError as error:
                raise damaged(str(self.journal.file), str(error)) from error
        return self._folded[1]

    def quarantined(self) -> Iterator[QuarantinedPoint]:
        """The points that the plan quarantined, in row order."""
        file = self.folder.file(QUARANTINE)
        content = file.read(bytes_max=QUARANTINE_BYTES_MAX)
        if hashlib.sha256(content).hexdigest() != self.plan.quarantine_sha256:
            raise damaged(str(file), "not the list the plan was made with")
        for line in content.splitlines():
            yield decode_quarantined(line, where=str(file))

    def refused(self) -> Iterator[QuarantinedPoint]:
        """The points whose vector the target refused, in row order, with the target's answers."""
        for row, vector in sorted(self.state().refused.items()):
            rows = next(self.snapshot.read(with_vectors=(), first_row=row, end_row=row + 1))
            outcome = Quarantined(
                reason=Reason.REFUSED, field=f"vector {vector.vector_id!r}", detail=vector.text
            )
            yield QuarantinedPoint(row=row, point_id=rows.page.ids[0], outcome=outcome)

    def planned_exclusions(self) -> frozenset[int]:
        """The rows that the plan quarantined."""
        return frozenset(point.row for point in self.quarantined())

    def excluded_rows(self) -> frozenset[int] | RowSet:
        """The rows that the run has not written.

        They were quarantined by the plan, refused by the target since, or belong to another of
        several indexes.
        """
        if self.plan.mapping.shards is None:
            return self.planned_exclusions() | self.refused_rows()
        moving = self.targets(["row"], excluded=self.refused_rows())
        return RowSet.all_but(
            self.plan.points, (batch.column("row").to_numpy() for batch in moving)
        )

    def refused_rows(self, *, until_round: int | None = None) -> frozenset[int]:
        """The rows that the target refused since the plan; `until_round`: at that round's end."""
        return self.state().refusals(until_round=until_round).rows

    def targets(
        self,
        columns: Sequence[str],
        *,
        excluded: AbstractSet[int] = frozenset(),
        first_row: int = 0,
        end_row: int | None = None,
        only: AbstractSet[int] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Columns of the run's `targets_schema` for the rows of the plan, in row order.

        Rows that the plan quarantined are not in the file; rows refused since are, unless
        `excluded`. Raises ArtefactDamagedError when the file is not the one of the plan.
        """
        selection = Selection(first_row=first_row, end_row=end_row, only=only, excluded=excluded)
        schema = targets_schema(self.plan.mapping)
        return read_targets(
            self.folder.file(TARGETS), self.plan.targets, columns, selection, schema
        )

    def unknown_names(self, names: AbstractSet[str]) -> tuple[str, ...]:
        """Those of these names that are neither a vector id nor a KV key of the run, sorted.

        Raises ArtefactDamagedError as `targets`, which is read only if there are names.
        """
        unknown = set(names) - {self.plan.writes.counter_key}
        for batch in self.targets(["vector_id", "file"]) if unknown else ():
            unknown.difference_update(batch.column("vector_id").to_pylist())
            files = batch.column("file").unique().drop_null().to_pylist()
            unknown.difference_update(encode_kv_key(file, self.plan.mapping) for file in files)
        return tuple(sorted(unknown))

    def check_targets(self) -> None:
        """Raises ArtefactDamagedError when the files of what is written are not the plan's."""
        check_targets(self.folder.file(TARGETS), self.plan.targets)
        _ = self.difference

    @cached_property
    def difference(self) -> Difference | None:
        """What a run with a base changes; None for a run that writes everything.

        Raises ArtefactDamagedError when difference.parquet is not the file of the plan.
        """
        base = self.plan.base
        return None if base is None else read_difference(self.folder.file(DIFFERENCE), base)

    @property
    def written_rows(self) -> frozenset[int] | None:
        """The rows that the first round writes and that have pre-images; None: all of them."""
        return None if self.difference is None else self.difference.rows

    @property
    def vectors(self) -> int:
        """Points that the plan moves, without those the target has refused so far."""
        return self.plan.vectors - len(self.state().refused)

    def quarantined_counts(self) -> dict[str, int]:
        """Reason -> number of points left out, including those the target refused."""
        refused = len(self.state().refused)
        return {**self.plan.quarantined, **({Reason.REFUSED.value: refused} if refused else {})}

    def waive(self, reasons: Iterable[str]) -> None:
        """Journal that these reasons do not count as a failure, for refusals after the plan."""
        new = set(reasons) - self.state().waived - set(self.plan.waived)
        if new:
            self.journal.append({"type": Kind.WAIVED.value, "reasons": sorted(new)})

    @property
    def unwaived(self) -> int:
        """Number of points that are left out for a reason that is not waived."""
        return sum(self.unwaived_counts().values())

    def unwaived_counts(self) -> dict[str, int]:
        """Those of `quarantined_counts` whose reason is not waived."""
        waived = self.state().waived | set(self.plan.waived)
        counts = self.quarantined_counts()
        return {reason: n for reason, n in counts.items() if reason not in waived}

    @property
    def spill(self) -> Path:
        """A local folder for tables that do not fit in memory; always safe to delete."""
        return self.folder.scratch(SPILL)

    @property
    def pre_images(self) -> Folder:
        """The folder of what the target held before the run."""
        return self.folder.child(PRE_IMAGES)

    @property
    def reconciles(self) -> WorkFolder:
        """The folder of the run's reconciles, each a numbered folder."""
        return self.folder.child(RECONCILE)

    @property
    def rollback(self) -> WorkFolder:
        """The folder of the run's rollback."""
        return self.folder.child(ROLLBACK)

    def discard(self) -> None:
        """Remove the folder of a run that has written nothing; the plan first, so it is none."""
        self.close()
        discard_folder(self.folder)

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()


def read_plan(folder: Folder, snapshot: Snapshot) -> RunPlan:
    """The plan in the folder of a run of this snapshot, its HMAC checked; raises as `RunFolder`."""
    file = folder.file(PLAN)
    content = file.read(bytes_max=PLAN_BYTES_MAX)
    plan = decode_plan(content, where=str(file), key=snapshot.key)
    if plan.content_root != snapshot.manifest.content_root:
        raise ForeignStateError(
            f"{folder}: planned for the snapshot with root {plan.content_root}, "
            f"this one has {snapshot.manifest.content_root}",
            remedy="move the run back under its own snapshot",
        )
    named = (snapshot.manifest.snapshot_id, folder.name)
    if (plan.snapshot_id, plan.run_id) != named:
        raise ForeignStateError(
            f"{file}: the plan of run {plan.run_id} of snapshot {plan.snapshot_id}, expected that "
            f"of run {named[1]} of snapshot {named[0]}",
            remedy="rename the folder to the run's id and move it back under its own snapshot",
        )
    return plan


def create_run(
    snapshot: Snapshot,
    plan: RunPlan,
    quarantine: bytes,
    targets: Iterable[pa.Table],
) -> WorkFolder:
    """Make a new run folder; plan.json is written last, so a folder with a plan is complete.

    `targets` are the tables of targets.parquet, in row order; the plan names their file. Returns
    the folder.
    """
    folder = _new_folder(snapshot, plan, quarantine)
    written = write_targets(folder.file(TARGETS), targets, targets_schema(plan.mapping))
    planned = replace(plan, targets=written)
    folder.file(PLAN).write(encode_plan(planned, snapshot.key))
    return folder


def create_catch_up(
    snapshot: Snapshot, plan: RunPlan, quarantine: bytes, comparison: Comparison
) -> WorkFolder:
    """As `create_run`, for a run that writes only what differs from its base, `plan.base`.

    Raises PreconditionError when more vectors would be deleted than are allowed.
    """
    assert plan.base is not None
    folder = _new_folder(snapshot, plan, quarantine)
    try:
        record = write_difference(folder.file(DIFFERENCE), comparison, plan.base)
    except PreconditionError:
        discard_folder(folder)
        raise
    targets = write_targets(
        folder.file(TARGETS), comparison.table.targets(), targets_schema(plan.mapping)
    )
    planned = replace(plan, targets=targets, base=record)
    folder.file(PLAN).write(encode_plan(planned, snapshot.key))
    return folder


def _new_folder(snapshot: Snapshot, plan: RunPlan, quarantine: bytes) -> WorkFolder:
    snapshot.runs.refuse_links()
    folder = snapshot.runs.child(plan.run_id)
    folder.refuse_links(PRE_IMAGES)
    folder.child(PRE_IMAGES).make()
    folder.file(QUARANTINE).write(quarantine)
    return folder


def discard_folder(folder: WorkFolder) -> None:
    """Remove the folder of a run; without its plan it counts as none, also after a kill."""
    folder.remove(PLAN)
    folder.clear()


def new_run_id(snapshot: Snapshot, wall_s: float, own: str | None = None) -> str:
    """A run id whose number is above that of every earlier run of the snapshot.

    A run into one of several vector indexes names it, so that two of them may begin at once.
    """
    number = max((_number(name) for name in snapshot.runs.names()), default=-1) + 1
    return run_name(number, name_stamp(wall_s), own)


def check_plans(snapshot: Snapshot) -> int:
    """Check the plan of every run of the snapshot, HMAC included; returns their number.

    Raises as `RunFolder` does. Writes nothing, unlike opening a run.
    """
    folders = run_folders(snapshot)
    for folder in folders:
        read_plan(folder, snapshot)
    return len(folders)


def run_folders(snapshot: Snapshot, own: str | None = None) -> list[WorkFolder]:
    """The runs of a snapshot, oldest first; with `own` those into this one of several indexes.

    A folder without a plan is no run: it was not finished, or is discarded. Raises
    ArtefactDamagedError for one whose journal says that the run has written to the target.
    """
    runs = _numbered(snapshot.runs, PLAN)
    named = {folder.name for folder in runs}
    for folder in _numbered(snapshot.runs, JOURNAL):
        if folder.name not in named and _has_written(folder):
            raise damaged(
                str(folder.file(PLAN)),
                "the plan is missing, and the journal of the run has writes to the target",
                remedy="restore the file from a copy of the run folder: without the plan q2v can "
                "neither continue nor undo the run",
            )
    return [one for one in runs if own is None or index_of_run(one.name) == own]


def _has_written(folder: WorkFolder) -> bool:
    return any(entry["type"] == Kind.INTENT for entry in JournalFile(folder).entries)


def report_folders(run: RunFolder, file: str) -> list[WorkFolder]:
    """The folders of a run's reconcile reports that hold `file`, oldest first."""
    return _numbered(run.reconciles, file)


def _numbered(within: WorkFolder, file: str) -> list[WorkFolder]:
    """The numbered folders that hold `file`, by number: as text, 1000 would come before 999."""
    names = [name for name in within.names() if _number(name) >= 0]
    numbered = sorted(names, key=lambda name: (_number(name), name))
    return [within.child(name) for name in numbered if within.child(name).has_file(file)]


def _number(name: str) -> int:
    """The counter that a folder's name begins with; -1 without one."""
    head = name.partition("-")[0]
    return int(head) if head.isascii() and head.isdigit() else -1
