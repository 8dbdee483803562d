"""Open the next round of writes: the full round first, then repairs of what a report found.

A repair writes what the newest reconcile report lists as missing or different, and nothing else;
extra records were not written by the run and are kept (decision 0003). A retry sends the refused
vectors again when the operator asks for it (decision 0020). Every file that decides what the round
writes is checked here, before the first write of the round: each stage also checks the files that
it reads, but possibly after writes have begun.
"""

from dataclasses import dataclass

from migrate.model.records import VectorId
from migrate.model.stamps import iso_stamp
from migrate.ports import Clock
from migrate.run.drift_report import (
    KEY_CLASSES,
    VECTOR_CLASSES,
    DriftReport,
    find_newest_report,
    read_report,
    read_report_ids,
)
from migrate.run.files import touched_keys
from migrate.run.folder import RunFolder
from migrate.run.journal import FULL, REPAIR, RETRY, Kind, RoundState, Store
from migrate.run.pending import RowRange
from migrate.run.refused_vectors import keys_of_rows
from migrate.storage.id_files import read_checked_ids, write_ids
from migrate.storage.journal_lines import Entry
from migrate.storage.layout import forced_name
from migrate.upload.removal import kept_removals


@dataclass(frozen=True, slots=True)
class Selection:
    """What the open round writes; None means everything of the run."""

    vectors: frozenset[VectorId] | None
    keys: frozenset[str] | None
    kept: frozenset[str] = frozenset()  # ids and keys that another writer has changed


def void_refusals(run: RunFolder) -> int:
    """Make the vectors refused in the open round pending again; returns their number.

    0 when no round is open, or when its vectors are processed: then a retry needs a round of its
    own (`open_round`).
    """
    state = run.state()
    if not state.rounds or state.rounds[-1].processed:
        return 0
    ordinal = state.rounds[-1].ordinal
    rows = sorted(row for row, vector in state.refused.items() if vector.round == ordinal)
    if rows:
        run.journal.append({"type": Kind.RETRIED.value, "round": ordinal, "rows": rows})
    return len(rows)


def open_round(
    run: RunFolder,
    *,
    snapshot_read: bool = False,
    forced: frozenset[str] = frozenset(),
    retry_refused: bool = False,
) -> Selection | None:
    """Return what the open round writes, opening a round if none is open; None: nothing to write.

    With `retry_refused` a run whose rounds are complete gets a round for the refused vectors.
    A repair keeps records that another writer has changed since (a namespace, KV metadata, a KV
    expiration), except for the ids and keys in `forced`. Checked before a round is returned:
    targets.parquet, the report with its id files, and the parts of the snapshot that are still to
    be sent, unless this process has read the whole snapshot (`snapshot_read`). Raises
    ArtefactDamagedError when one of these files is damaged.
    """
    state = run.state()
    if not state.rounds:
        run.check_targets()
        if not snapshot_read:
            _check_parts(run, None)
        run.journal.append({"type": Kind.ROUND_OPENED.value, "ordinal": 0, "kind": FULL})
        return _of_full(run)
    if not state.rounds[-1].completed:
        run.check_targets()
        selection = _selection(run, _opening(run, state.rounds[-1].ordinal))
        _check_parts(run, state.rounds[-1])
        return selection
    if retry_refused:
        return _open_retry(run) if state.refused else None
    return _open_repair(run, forced, ordinal=len(state.rounds))


def kept_changes(run: RunFolder) -> list[str]:
    """Ids and keys that other writers changed, by the newest report, and that no repair forced."""
    folder = find_newest_report(run)
    if folder is None or not run.state().completed:
        return []
    report = read_report(run, folder)
    if report.verdict != "drift":
        return []
    forced = {name for entry in _rounds_of(run, report) for name in _forced_by(run, entry)}
    return [name for name in _foreign(run, report) if name not in forced]


def _open_repair(run: RunFolder, forced: frozenset[str], *, ordinal: int) -> Selection | None:
    folder = find_newest_report(run)
    if folder is None:
        return None
    report = read_report(run, folder)
    if not report.names_our_drift:
        return None
    earlier = _rounds_of(run, report)
    done = {name for entry in earlier for name in _forced_by(run, entry)}
    force = [name for name in _foreign(run, report) if name in forced and name not in done]
    if earlier and not force:
        return None
    entry: Entry = {
        "type": Kind.ROUND_OPENED.value,
        "ordinal": ordinal,
        "kind": REPAIR,
        "report": report.folder.name,
        "report_sha256": report.sha256,
        "only_forced": bool(earlier),
    }
    elsewhere = _elsewhere(run, report)
    if elsewhere is not None:
        entry["elsewhere"] = elsewhere
    selection = _of_report(run, report, frozenset(force), only_forced=bool(earlier))
    writes_counter = bool(report.drift.get("counter")) and (
        run.plan.writes.counter_key not in selection.kept
    )
    if not selection.vectors and not selection.keys and not writes_counter:
        return None
    run.check_targets()
    _check_parts(run, None)
    if force:
        entry["forced"] = list(write_ids(report.folder.file(forced_name(ordinal)), force))
    run.journal.append(entry)
    return selection


def _elsewhere(run: RunFolder, report: DriftReport) -> object:
    """The vectors of others that the counter of a repair counts; None: as it did before.

    Other runs of the folder may have written to the target since the run began, or since an
    earlier repair have been rolled back.
    """
    state = run.state()
    assert state.pre_images is not None
    if "elsewhere" in report.document:
        return report.document["elsewhere"]
    if any(one.elsewhere is not None for one in state.rounds):
        found = state.pre_images["vectors_elsewhere"]
        assert isinstance(found, int)
        return found + len(kept_removals(run))
    return None


def _open_retry(run: RunFolder) -> Selection:
    state = run.state()
    entry: Entry = {
        "type": Kind.ROUND_OPENED.value,
        "ordinal": len(state.rounds),
        "kind": RETRY,
        "rows": sorted(state.refused),
        "kept": kept_changes(run),
    }
    run.check_targets()
    selection = _selection(run, entry)
    _check_parts(run, None)
    run.journal.append(entry)
    return selection


def _opening(run: RunFolder, ordinal: int) -> Entry:
    return next(
        entry
        for entry in run.journal.entries
        if entry["type"] == Kind.ROUND_OPENED and entry["ordinal"] == ordinal
    )


def _rounds_of(run: RunFolder, report: DriftReport) -> list[Entry]:
    """The opening entries of the rounds that this report gave rise to."""
    return [entry for entry in run.journal.entries if entry.get("report") == report.folder.name]


def _foreign(run: RunFolder, report: DriftReport) -> list[str]:
    """Ids and keys of records with something that the run does not write (such as a namespace)."""
    return [
        name
        for foreign_class in report.foreign_classes
        for name in read_report_ids(run, report, foreign_class)
    ]


def _forced_by(run: RunFolder, entry: Entry) -> list[str]:
    """Ids and keys that a round overwrites although another writer has changed them."""
    match entry.get("forced"):
        case [int() as count, str() as sha256]:
            folder = run.reconciles.child(str(entry["report"]))
            file = folder.file(forced_name(int(str(entry["ordinal"]))))
            return read_checked_ids(file, count, sha256, remedy="restore the file from a copy")
        case _:
            return []


def _of_report(
    run: RunFolder, report: DriftReport, forced: frozenset[str], *, only_forced: bool
) -> Selection:
    """What a repair of this report writes, and what it keeps."""
    foreign = frozenset(_foreign(run, report))
    kept = foreign - forced

    def wanted(classes: tuple[str, ...]) -> frozenset[str]:
        ids = {
            name for drift_class in classes for name in read_report_ids(run, report, drift_class)
        } - kept
        return frozenset(ids & forced if only_forced else ids)

    vectors = frozenset(map(VectorId, wanted(VECTOR_CLASSES)))
    return Selection(vectors, wanted(KEY_CLASSES), kept)


def _of_full(run: RunFolder) -> Selection:
    """Everything of the run; of a catch-up the KV entries of the files that it changes."""
    touched = touched_keys(run)
    return Selection(None, None if touched is None else touched.written)


def complete_round(run: RunFolder, clock: Clock) -> None:
    """Note that everything of the open round is written, and when."""
    current = run.state().rounds[-1]
    if not current.completed:
        run.journal.append(
            {
                "type": Kind.ROUND_COMPLETED.value,
                "round": current.ordinal,
                "at": iso_stamp(clock.wall_s()),
            }
        )


def _selection(run: RunFolder, entry: Entry) -> Selection:
    """What an opened round writes. The report of a repair is checked again."""
    if entry["kind"] == FULL:
        return _of_full(run)
    if entry["kind"] == RETRY:
        return _of_retry(run, entry)
    folder = run.reconciles.child(str(entry["report"]))
    report = read_report(run, folder, entry["report_sha256"])
    forced = frozenset(_forced_by(run, entry))
    return _of_report(run, report, forced, only_forced=entry.get("only_forced") is True)


def _of_retry(run: RunFolder, entry: Entry) -> Selection:
    """The vectors of the refused rows, and the KV entries of their files, which list them.

    Records that another writer has changed, by the newest report, are kept.
    """
    rows_, kept_ = entry["rows"], entry["kept"]
    assert isinstance(rows_, list)
    assert isinstance(kept_, list)
    rows, kept = frozenset(map(int, rows_)), frozenset(map(str, kept_))
    ids = [
        VectorId(text)
        for batch in run.targets(["vector_id"], only=rows)
        for text in batch.column("vector_id").to_pylist()
    ]
    return Selection(frozenset(ids) - kept, keys_of_rows(run, rows) - kept, kept)


def _check_parts(run: RunFolder, current: RoundState | None) -> None:
    """Hash every part of the snapshot that an upload of this round still reads.

    `current` None is a round that has sent nothing yet. A repair reads all rows too, to find those
    it writes. Raises ArtefactDamagedError for a part that is missing or does not match the
    manifest.
    """
    if current is not None and current.processed:
        return
    pending = [RowRange(0, run.plan.points)]
    if current is not None:
        sent = current.batches[Store.VECTORS]
        in_doubt = [RowRange(batch.first, batch.end) for batch in sent if batch.in_doubt]
        pending = [*current.pending.ranges, *in_doubt]
    for part in run.snapshot.stored_parts():
        if any(rows.first < part.end_row and part.first_row < rows.end for rows in pending):
            part.check()
