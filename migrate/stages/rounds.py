"""Open the next round of writes: the full one first, then repairs of what a report found.

A repair writes what the newest reconcile report names as missing or different, and nothing else.
What is extra is not ours and stays (decision 0003).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from migrate.adapters.bounded import read_bounded, read_json_object
from migrate.adapters.id_files import read_ids
from migrate.adapters.run_folder import RECONCILE, REPORT_BYTES_MAX, RunFolder, report_folders
from migrate.core.journal import Entry, Kind
from migrate.core.manifest import damaged
from migrate.core.model import VectorId

FULL, REPAIR = "full", "repair"
REPORT = "report.json"


@dataclass(frozen=True, slots=True)
class Selection:
    """What the open round writes; None means everything of the run."""

    vectors: frozenset[VectorId] | None
    keys: frozenset[str] | None


def open_round(run: RunFolder) -> Selection | None:
    """The round to work on, opened in the journal if it was not; None when nothing is to do."""
    state = run.state()
    if not state.rounds:
        run.journal.append({"type": Kind.ROUND_OPENED.value, "ordinal": 0, "kind": FULL})
        return Selection(None, None)
    if not state.rounds[-1].completed:
        return _selection(run, _opening(run, state.rounds[-1].ordinal))
    report = _newest_drift(run)
    if report is None or any(entry.get("report") == report.name for entry in run.journal.entries):
        return None
    entry: Entry = {
        "type": Kind.ROUND_OPENED.value,
        "ordinal": len(state.rounds),
        "kind": REPAIR,
        "report": report.name,
        "report_sha256": _sha256(report / REPORT),
    }
    selection = _selection(run, entry)
    run.journal.append(entry)
    return selection


def _opening(run: RunFolder, ordinal: int) -> Entry:
    return next(
        entry
        for entry in run.journal.entries
        if entry["type"] == Kind.ROUND_OPENED and entry["ordinal"] == ordinal
    )


def _newest_drift(run: RunFolder) -> Path | None:
    """The newest report's folder, if it says "drift" and names something that we write."""
    reports = report_folders(run.path, REPORT)
    if not reports:
        return None
    match read_json_object(reports[-1] / REPORT, bytes_max=REPORT_BYTES_MAX):
        case {"verdict": "drift", "drift": dict() as drift}:
            ours = ("missing", "mismatched", "kv_missing", "kv_mismatched", "counter")
            return reports[-1] if any(drift.get(name) for name in ours) else None
        case _:
            return None


def _selection(run: RunFolder, entry: Entry) -> Selection:
    if entry["kind"] == FULL:
        return Selection(None, None)
    folder = run.path / RECONCILE / str(entry["report"])
    if _sha256(folder / REPORT) != entry["report_sha256"]:
        raise damaged(str(folder / REPORT), "not the report that the repair was begun with")
    vectors = [*read_ids(folder / "missing.ids"), *read_ids(folder / "mismatched.ids")]
    keys = [*read_ids(folder / "kv_missing.ids"), *read_ids(folder / "kv_mismatched.ids")]
    return Selection(frozenset(map(VectorId, vectors)), frozenset(keys))


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_bounded(path, bytes_max=REPORT_BYTES_MAX)).hexdigest()
