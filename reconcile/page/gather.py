"""Read the documents of a page from the folders of a snapshot and a run."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice

from migrate.errors import PreconditionError
from migrate.model.canonical import decode_json
from migrate.model.sealed_json import damaged
from migrate.run.drift_report import (
    FOREIGN_CLASSES,
    DriftReport,
    IdSums,
    journals_compared,
    read_report,
)
from migrate.run.folder import PLAN_BYTES_MAX, RunFolder, report_folders
from migrate.run.next_step import flags_again, next_step, position_of, read_finding
from migrate.snapshot.folder import MANIFEST_BYTES_MAX
from migrate.storage.folder import Folder, StoredFile
from migrate.storage.id_files import encode_id
from migrate.storage.layout import (
    DIFFERS,
    GATE,
    JOURNAL,
    MANIFEST,
    PLAN,
    QUARANTINE,
    RECONCILE,
    REPORT,
    RUNS,
    id_file_name,
)
from reconcile.gate.record import newest_record
from reconcile.page.documents import (
    ROWS_MAX,
    Document,
    Documents,
    FileSum,
    IdRows,
    NextStep,
    shared_fairly,
)
from reconcile.page.drift import in_order
from reconcile.parity.record import newest_records

_DIFFERS_BYTES_MAX = 64 * 1024 * 1024  # names of 2,000 records


def of_reconcile(run: RunFolder, report: Document, folder: Folder, sha256: str) -> Documents:
    """The documents of a reconcile's own page; `report` are the members of its report.json.

    The page is written before report.json, whose digest will be `sha256`.
    """
    sums: IdSums = {name: (count, digest) for name, (count, digest) in report["id_files"].items()}
    found = _with_drift(_of_run_alone(run), run, report, sums, folder)
    return replace(
        found,
        report=report,
        reconciles=(report,),
        next_step=_step_after(run, report),
        files=(*found.files, FileSum(name=_place(run, folder, REPORT), sha256=sha256)),
    )


def of_run(run: RunFolder) -> Documents:
    """The documents of a whole run: its newest reconcile, those before it, gate and parity.

    Raises ArtefactDamagedError for a file that is not what was written.
    """
    found = _of_run_alone(run)
    reports = list(_finished_reports(run))
    gate, parity = newest_record(run), newest_records(run)
    files = [*found.files]
    outdated = ""
    if reports:
        newest = reports[-1]
        folder = newest.folder
        files.append(FileSum(name=_place(run, folder, REPORT), sha256=newest.sha256))
        found = _with_drift(found, run, newest.document, newest.sums, folder)
        if found.journal_sha256 not in journals_compared(run, folder):
            outdated = "the run was rolled back" if run.state().rollback_opened else "the run wrote"
    if gate is not None:
        files.append(_sum(f"{_run_place(run)}/{GATE}/{gate[0].name}", gate[0]))
    files += [_sum(_place_from_snapshot(run, file), file) for file, _ in parity]
    return replace(
        found,
        report=reports[-1].document if reports else None,
        outdated=outdated,
        parity=tuple(fields for _, fields in parity),
        reconciles=tuple(one.document for one in reports),
        gate=None if gate is None else gate[1],
        files=tuple(files),
    )


def _finished_reports(run: RunFolder) -> Iterator[DriftReport]:
    """The reports of the run, oldest first; one that a kill left without its conclusion is none."""
    for folder in report_folders(run, REPORT):
        with suppress(PreconditionError):
            yield read_report(run, folder)


def _of_run_alone(run: RunFolder) -> Documents:
    """Manifest, plan and journal: they were checked when the run was opened."""
    snapshot, folder = run.snapshot.folder, run.folder
    own = [(_run_place(run), folder, name) for name in (PLAN, JOURNAL, QUARANTINE)]
    return Documents(
        manifest=snapshot.file(MANIFEST).read_json_object(bytes_max=MANIFEST_BYTES_MAX),
        plan=folder.file(PLAN).read_json_object(bytes_max=PLAN_BYTES_MAX),
        quarantined=run.quarantined_counts(),
        entries=tuple(run.journal.entries),
        journal_sha256=run.journal.file.hash()[1],
        files=tuple(
            _sum(f"{place}/{name}".lstrip("/"), where.file(name))
            for place, where, name in [("", snapshot, MANIFEST), *own]
        ),
    )


def _with_drift(
    found: Documents, run: RunFolder, report: Document, sums: IdSums, folder: Folder
) -> Documents:
    """The documents, with the ids that a report names and what differs in them.

    `sums` are those of the id files; a file with another sum raises ArtefactDamagedError.
    """
    listed = in_order(name for name in sums if sums[name][0] and name not in FOREIGN_CLASSES)
    shares = shared_fairly([sums[name][0] for name in listed], ROWS_MAX)
    rows = [
        IdRows(
            name=name,
            total=sums[name][0],
            lines=_lines(folder, name, sums, share),
            place=_place(run, folder, id_file_name(name)),
        )
        for name, share in zip(listed, shares, strict=True)
    ]
    foreign = [_lines(folder, name, sums, ROWS_MAX) for name in FOREIGN_CLASSES if name in sums]
    return replace(
        found,
        rows=(*rows, *_counter(run, report)),
        foreign=frozenset(line for lines in foreign for line in lines),
        differs=dict(_read_named(folder.file(DIFFERS))),
    )


def _counter(run: RunFolder, report: Document) -> tuple[IdRows, ...]:
    """The key of a wrong counter, which no id file names: it is one of a kind."""
    if not (report.get("drift") or {}).get("counter"):
        return ()
    line = encode_id(run.plan.writes.counter_key)
    return (IdRows(name="counter", total=1, lines=(line,), place=DIFFERS),)


def _lines(folder: Folder, name: str, sums: IdSums, most: int) -> tuple[str, ...]:
    """The first lines of an id file as they stand there: a form that shows every character."""
    file = folder.file(id_file_name(name))
    remedy = "find out what changed the file, then run `q2v reconcile` again"
    if not file.is_there():
        raise damaged(str(file), "the file is missing", remedy=remedy)
    found = file.hash()[1]
    if found != sums[name][1]:
        raise damaged(str(file), f"its sha256 is {found}, expected {sums[name][1]}", remedy=remedy)
    with file.open_to_read() as lines:
        return tuple(line.decode(errors="replace").rstrip("\n") for line in islice(lines, most))


def _read_named(file: StoredFile) -> Iterator[tuple[str, Sequence[str]]]:
    if not file.is_there():  # a report of an earlier version
        return
    for line in file.read(bytes_max=_DIFFERS_BYTES_MAX).splitlines():
        try:
            record = decode_json(line)
        except ValueError:
            record = None
        match record:
            case {"id": str() as name, "differs": list() as what}:
                yield encode_id(name), tuple(map(str, what))
            case _:
                raise damaged(str(file), "a line of it names no id with what differs")


def _step_after(run: RunFolder, report: Document) -> NextStep:
    """What follows from the run and this report alone; `q2v status` also knows what came later."""
    state, unwaived = run.state(), run.unwaived_counts()
    situation = next_step(
        replace(
            position_of(state),
            finding=read_finding(report),
            unwaived=bool(unwaived),
            moving=run.snapshot.manifest.moving,
        )
    )
    flags = flags_again(situation, state, into_non_empty=run.plan.into_non_empty)
    text = situation.advice_with(flags, tuple(unwaived))
    command = " ".join(["q2v", *situation.words, *flags])
    return NextStep(means=situation.means, text=text or command, is_command=not text)


def _run_place(run: RunFolder) -> str:
    return f"{RUNS}/{run.folder.name}"


def _place_from_snapshot(run: RunFolder, file: StoredFile) -> str:
    """A file's path from the folder of the snapshot; it may lie in a snapshot before it."""
    snapshot = run.snapshot.folder
    below = str(file).removeprefix(f"{snapshot.parent}/")
    own = f"{snapshot.name}/"
    return below.removeprefix(own) if below.startswith(own) else f"../{below}"


def _place(run: RunFolder, folder: Folder, name: str) -> str:
    return f"{_run_place(run)}/{RECONCILE}/{folder.name}/{name}"


def _sum(name: str, file: StoredFile) -> FileSum:
    return FileSum(name=name, sha256=file.hash()[1])
