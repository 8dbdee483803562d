"""Open the next round of writes: the full one first, then repairs of what a report found.

A repair writes what the newest reconcile report names as missing or different, and nothing else.
What is extra is not ours and stays (decision 0003). Every file that decides about the round is
checked here, before its first write.
"""

from dataclasses import dataclass

from migrate.adapters.run_folder import RECONCILE, RunFolder
from migrate.core.journal import Entry, Kind
from migrate.core.model import VectorId
from migrate.core.next_step import REPAIR
from migrate.stages.checked_files import check_parts
from migrate.stages.drift_report import (
    KEY_CLASSES,
    VECTOR_CLASSES,
    DriftReport,
    find_newest_report,
    read_report,
    read_report_ids,
)

FULL = "full"


@dataclass(frozen=True, slots=True)
class Selection:
    """What the open round writes; None means everything of the run."""

    vectors: frozenset[VectorId] | None
    keys: frozenset[str] | None


def open_round(run: RunFolder, *, snapshot_read: bool = False) -> Selection | None:
    """The round to work on, opened in the journal if it was not; None when nothing is to do.

    Before a round is returned, what decides about its writes is checked: targets.parquet, the
    report with its id files, and the parts of the snapshot that are still to be sent, unless
    this process has read the whole snapshot (`snapshot_read`). Raises ArtefactDamagedError.
    """
    state = run.state()
    if not state.rounds:
        run.check_targets()
        if not snapshot_read:
            check_parts(run, None)
        run.journal.append({"type": Kind.ROUND_OPENED.value, "ordinal": 0, "kind": FULL})
        return Selection(None, None)
    if not state.rounds[-1].completed:
        run.check_targets()
        selection = _selection(run, _opening(run, state.rounds[-1].ordinal))
        check_parts(run, state.rounds[-1])
        return selection
    report = _newest_drift(run)
    if report is None:
        return None
    run.check_targets()
    entry, selection = _repair(run, report, len(state.rounds))
    check_parts(run, None)
    run.journal.append(entry)
    return selection


def _opening(run: RunFolder, ordinal: int) -> Entry:
    return next(
        entry
        for entry in run.journal.entries
        if entry["type"] == Kind.ROUND_OPENED and entry["ordinal"] == ordinal
    )


def _newest_drift(run: RunFolder) -> DriftReport | None:
    """The newest report, if it says "drift", names something of ours and was not repaired yet."""
    folder = find_newest_report(run)
    if folder is None or any(entry.get("report") == folder.name for entry in run.journal.entries):
        return None
    report = read_report(run, folder)
    return report if report.names_our_drift else None


def _repair(run: RunFolder, report: DriftReport, ordinal: int) -> tuple[Entry, Selection]:
    """The entry that opens a repair, with the sums of what it goes by."""
    ids = {name: read_report_ids(run, report, name) for name in (*VECTOR_CLASSES, *KEY_CLASSES)}
    entry: Entry = {
        "type": Kind.ROUND_OPENED.value,
        "ordinal": ordinal,
        "kind": REPAIR,
        "report": report.folder.name,
        "report_sha256": report.sha256,
    }
    return entry, _of_classes(ids)


def _of_classes(ids: dict[str, list[str]]) -> Selection:
    vectors = frozenset(VectorId(one) for name in VECTOR_CLASSES for one in ids[name])
    return Selection(vectors, frozenset(one for name in KEY_CLASSES for one in ids[name]))


def _selection(run: RunFolder, entry: Entry) -> Selection:
    """What an opened round writes: for a repair what its report named, checked again."""
    if entry["kind"] == FULL:
        return Selection(None, None)
    folder = run.path / RECONCILE / str(entry["report"])
    report = read_report(run, folder, entry["report_sha256"])
    return _repair(run, report, 0)[1]
