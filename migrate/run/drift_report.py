"""Read the reconcile report that a repair follows; every file is checked before it is used.

The reconcile's journal ends with the SHA-256 of `report.json`, and the report has the SHA-256 of
each of its id files. A report of format 1 lacks the latter: there the journal has them for some id
files, and the rows of the vectors that differ.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from migrate.errors import PreconditionError
from migrate.model.canonical import decode_json
from migrate.model.sealed_json import damaged, unseal_json
from migrate.run.folder import REPORT_BYTES_MAX, RunFolder
from migrate.run.next_step import REPAIRED
from migrate.storage.folder import Folder, StoredFile, WorkFolder
from migrate.storage.id_files import read_checked_ids, read_ids
from migrate.storage.journal_file import JournalFile
from migrate.storage.journal_lines import Entry
from migrate.storage.layout import JOURNAL, REPORT, RUNS, STATEMENT, id_file_name
from migrate.tables.target_ids import ID_COLUMNS

REPORT_FORMAT = 2
UNSEALED_FORMAT = 1  # without SHA-256 of the id files, and without a seal
CONCLUDED = "reconcile_concluded"  # the last entry of a finished reconcile's journal
UNFILTERED = "unfiltered"  # vectors that filters do not find until they are written again
METADATA_INDEXES = "metadata_indexes"  # the number of metadata indexes that need it
# The classes of drift that a repair writes.
VECTOR_CLASSES = ("missing", "mismatched", UNFILTERED)
KEY_CLASSES = ("kv_missing", "kv_mismatched")
# Classes of records that another writer has certainly changed: a repair keeps them unless forced.
FOREIGN_CLASSES = ("foreign", "kv_foreign")
IdSums = dict[str, tuple[int, str]]  # class of drift -> number of ids, SHA-256 of its file
_REMEDY = (
    "find out what changed the file, then run `q2v reconcile` again: a repair goes by the newest "
    "report; nothing has been written to the target"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """A finished report that has been checked; its id files have not been read yet."""

    folder: WorkFolder
    sha256: str  # of report.json
    verdict: str
    drift: dict[str, object]  # class -> number of ids
    sums: IdSums
    mismatched_rows: frozenset[int] | None  # of format 1, which has these and no SHA-256
    document: dict[str, object]  # all members of report.json

    @property
    def foreign_classes(self) -> tuple[str, ...]:
        """Classes of records with something q2v never writes; a report of format 1 has none."""
        return tuple(name for name in FOREIGN_CLASSES if name in self.sums)

    @property
    def names_our_drift(self) -> bool:
        """Whether the report has drift that a repair writes."""
        classes = (*REPAIRED, METADATA_INDEXES)
        return self.verdict == "drift" and any(self.drift.get(name) for name in classes)


def find_newest_report(run: RunFolder) -> WorkFolder | None:
    """The folder of the newest finished reconcile; None when there is none.

    Raises ArtefactDamagedError when that reconcile was concluded but its report is missing.
    """
    names = [name for name in run.reconciles.names() if name.isdigit()]
    for name in sorted(names, key=int, reverse=True):
        folder = run.reconciles.child(name)
        if folder.has_file(REPORT):
            return folder
        if _conclusion(JournalFile(folder)) is not None:
            raise damaged(
                folder.address(REPORT),
                "the report is missing, but the reconcile's journal says that it was written",
                remedy=_REMEDY,
            )
    return None


def read_report(run: RunFolder, folder: WorkFolder, sha256: object = None) -> DriftReport:
    """The report in this folder, checked against `sha256`, else against the reconcile's journal.

    Raises ArtefactDamagedError when it differs from what that reconcile wrote, PreconditionError
    when the reconcile was killed before it was concluded.
    """
    file = folder.file(REPORT)
    if not file.is_there():
        raise damaged(str(file), "the report is missing", remedy=_REMEDY)
    journal = JournalFile(folder)
    if not journal.entries:
        raise damaged(str(journal.file), "the reconcile's journal is missing", remedy=_REMEDY)
    content = file.read(bytes_max=REPORT_BYTES_MAX)
    found = hashlib.sha256(content).hexdigest()
    if found != (sha256 or _concluded_with(journal, file)):
        raise damaged(str(file), "not the report that the journal names", remedy=_REMEDY)
    fields = _fields(run, content, str(file))
    _check_belongs(run, folder, fields)
    drift = fields.get("drift")
    if not isinstance(drift, dict):
        raise damaged(str(file), "it holds no numbers of drift", remedy=_REMEDY)
    old = fields["format"] == UNSEALED_FORMAT
    return DriftReport(
        folder=folder,
        sha256=found,
        verdict=str(fields.get("verdict")),
        drift=drift,
        sums=_sums_of_journal(journal.entries) if old else _sums(fields.get("id_files"), str(file)),
        mismatched_rows=_mismatched_rows(journal.entries) if old else None,
        document=fields,
    )


def journals_compared(run: RunFolder, folder: Folder) -> Iterator[object]:
    """The digest of the run's journal that the statement beside a report names.

    None without a statement: a kill came between the report and it, and the reconcile is repeated.
    """
    if not folder.has_file(STATEMENT):
        return
    statement = folder.file(STATEMENT).read_json_object(bytes_max=REPORT_BYTES_MAX)
    subjects = statement.get("subject")
    for subject in subjects if isinstance(subjects, list) else []:
        match subject:
            case {"name": str() as name, "digest": {"sha256": digest}}:
                if name == f"{RUNS}/{run.folder.name}/{JOURNAL}":
                    yield digest
            case _:
                pass


def read_report_ids(run: RunFolder, report: DriftReport, name: str) -> list[str]:
    """The ids of a class of drift. Raises ArtefactDamagedError for a changed file."""
    file = report.folder.file(id_file_name(name))
    if name == UNFILTERED and METADATA_INDEXES not in report.drift:
        return []  # a report of a version that did not test filters
    if name == "mismatched" and report.mismatched_rows is not None:
        ids = _ids_of_rows(run, report.mismatched_rows)
        if not file.is_there() or read_ids(file) != ids:
            raise damaged(str(file), "not the vectors that the journal names", remedy=_REMEDY)
        return ids
    if name not in report.sums:
        raise damaged(str(file), "the report does not name this id file", remedy=_REMEDY)
    return read_checked_ids(file, *report.sums[name], remedy=_REMEDY)


def _concluded_with(journal: JournalFile, report: StoredFile) -> object:
    """The SHA-256 of the report, from the last entry of the reconcile's journal."""
    conclusion = _conclusion(journal)
    if conclusion is None:
        raise PreconditionError(
            f"{report}: the reconcile was interrupted before it was concluded",
            remedy="run `q2v reconcile` again, then `q2v migrate`",
        )
    return conclusion.get("report_sha256")


def _check_belongs(run: RunFolder, folder: WorkFolder, fields: dict[str, object]) -> None:
    """Raises ArtefactDamagedError for a report that was copied from another run or reconcile."""
    expected = (run.plan.run_id, run.plan.snapshot_id, int(folder.name))
    found = (fields.get("run_id"), fields.get("snapshot_id"), fields.get("ordinal", expected[2]))
    if found != expected:
        raise damaged(
            folder.address(REPORT),
            f"it is reconcile {found[2]} of run {found[0]} of snapshot {found[1]}, expected "
            f"reconcile {expected[2]} of run {expected[0]} of snapshot {expected[1]}",
            remedy=_REMEDY,
        )


def _fields(run: RunFolder, content: bytes, where: str) -> dict[str, object]:
    """The members of a report of either format; with a key configured, only of a sealed report."""
    key = run.snapshot.key
    fields = decode_json(content)  # its SHA-256 is in the journal, so it is what was written
    if isinstance(fields, dict) and fields.get("format") == UNSEALED_FORMAT and key is None:
        return fields
    if isinstance(fields, dict) and fields.get("format") == UNSEALED_FORMAT:
        raise damaged(
            where,
            "it carries no HMAC, expected one of the key of snapshot.hmac_key: reports of format "
            f"{UNSEALED_FORMAT} have none",
            remedy="run `q2v reconcile` again, then `q2v migrate`; nothing has been written to the "
            "target",
        )
    return unseal_json(content, where=where, format_version=REPORT_FORMAT, key=key)


def _conclusion(journal: JournalFile) -> Entry | None:
    last = journal.entries[-1] if journal.entries else {}
    return last if last.get("type") == CONCLUDED else None


def _sums(value: object, where: str) -> IdSums:
    match value:
        case dict() as files:
            found = {str(name): _sum(record) for name, record in files.items()}
            if None not in found.values():
                return {name: record for name, record in found.items() if record is not None}
        case _:
            pass
    raise damaged(where, "it names no sums of its id files", remedy=_REMEDY)


def _sum(value: object) -> tuple[int, str] | None:
    match value:
        case [int() as count, str() as sha256]:
            return count, sha256
        case _:
            return None


def _sums_of_journal(entries: list[Entry]) -> IdSums:
    """Numbers and SHA-256 of id files that a reconcile of format 1 journalled per store."""
    sums: IdSums = {}
    for entry in entries:
        files = entry.get("files")
        if isinstance(files, dict):
            found = {str(name): _sum(record) for name, record in files.items()}
            sums |= {name: record for name, record in found.items() if record is not None}
    return sums


def _mismatched_rows(entries: list[Entry]) -> frozenset[int]:
    """The rows that differed in the last pass, from which `mismatched.ids` was written."""
    looks = [entry for entry in entries if entry["type"] == "contents_read"]
    last = looks[-1]["look"] if looks else None
    rows: set[int] = set()
    for entry in looks:
        found = entry["mismatched"]
        if entry["look"] == last and isinstance(found, list):
            rows.update(found)
    return frozenset(rows)


def _ids_of_rows(run: RunFolder, rows: frozenset[int]) -> list[str]:
    if not rows:
        return []
    return [
        str(vector_id)
        for batch in run.targets(ID_COLUMNS, only=rows)
        for vector_id in batch.column("vector_id").to_pylist()
    ]
