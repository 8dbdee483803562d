"""The record of a parity measurement beside what was measured: numbered, sealed, never changed."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from migrate.errors import PreconditionError
from migrate.mapping.values import ValueRules
from migrate.model.sealed_json import damaged, seal_json, unseal_json
from migrate.run.folder import REPORT_BYTES_MAX, RunFolder
from migrate.snapshot.folder import Snapshot
from migrate.storage.folder import Folder, StoredFile
from migrate.storage.layout import PARITY, parity_name
from migrate.words import counted
from reconcile.parity.parity import ParityReport
from reconcile.parity.queries import NamedQueries

PARITY_FORMAT = 1
_ATTEMPTS = 100  # other commands may write a record of the same number meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCut:
    """What exact search at the plan's width keeps of the source's answers, by a record."""

    width: int
    overlap: float  # mean share of the first `top`
    top: int
    queries: int
    overlap_min: float | None  # that the operator asked for; None: nothing was judged
    at: str  # RFC 3339
    place: str

    @property
    def holds(self) -> bool | None:
        """Whether enough is kept; None when nothing says what is enough."""
        return None if self.overlap_min is None else self.overlap >= self.overlap_min

    def in_words(self) -> str:
        """For people."""
        words = (
            f"exact search at {self.width:,} dimensions keeps {self.overlap:.3f} of the first "
            f"{self.top} ({counted(self.queries, 'query')}, {self.at[:10]})"
        )
        if self.overlap_min is None:
            return f"{words}; no least share was named, so nothing is judged"
        return f"{words}, at least {self.overlap_min:g} expected"


def document(
    report: ParityReport,
    snapshot: Snapshot,
    run: RunFolder | None,
    queries: NamedQueries,
    *,
    at: str,
) -> dict[str, object]:
    """The members of a record but its seal; `run` is the one whose index was asked."""
    return {
        "format": PARITY_FORMAT,
        "at": at,
        "collection": snapshot.manifest.collection,
        "snapshot_id": snapshot.manifest.snapshot_id,
        "content_root": snapshot.manifest.content_root,
        "run_id": None if run is None else run.plan.run_id,
        "journal_sha256": None if run is None else run.journal.file.hash()[1],
        "queries": {"count": len(queries.names), "file_sha256": queries.file_sha256},
        **asdict(report),
        "curve": {str(width): asdict(kept) for width, kept in report.curve.items()},
        "exit_code": int(report.exit_code),
    }


def make_folder(of: Snapshot | RunFolder) -> Folder:
    """The folder of the records of a snapshot or a run; a folder that cannot be written raises."""
    folder = of.folder.child(PARITY)
    folder.make()
    return folder


def keep(folder: Folder, fields: dict[str, object], of: Snapshot) -> StoredFile:
    """Write the next record; two commands at once write two."""
    content = seal_json(fields, of.key)
    number = max(_numbers(folder), default=0)
    for ordinal in range(number + 1, number + _ATTEMPTS):
        file = folder.file(parity_name(ordinal))
        if file.is_there():
            continue
        try:
            file.create(content)
        except PreconditionError:  # another command was first
            continue
        return file
    raise PreconditionError(
        f"{folder}: other commands write records without end",
        remedy="end them, and run `q2v parity` again",
    )


def find_cut(
    snapshot: Snapshot, values: ValueRules, run: RunFolder | None = None
) -> MeasuredCut | None:
    """The newest figure for a cut to these dimensions; None when it was never measured.

    A record of a snapshot that this one continues from counts too: the model is the same. One that
    names a least share counts before one that names none. Raises ArtefactDamagedError when a record
    was changed, ForeignStateError for another format.
    """
    found = [
        cut
        for place, fields in _records(snapshot, run)
        if (cut := _cut(place, fields, values)) is not None
    ]
    # Two of one second stand in the order of their numbers.
    found.sort(key=lambda cut: (cut.overlap_min is not None, cut.at))
    return found[-1] if found else None


def newest_of_index(run: RunFolder) -> dict[str, object] | None:
    """The newest record of the run's index that passed or failed, as the run stands now."""
    journal = run.journal.file.hash()[1]
    found = [
        fields
        for _, fields in _read(run.folder.child(PARITY), run.snapshot)
        if fields.get("journal_sha256") == journal and fields.get("verdict") in {"pass", "fail"}
    ]
    return found[-1] if found else None


def newest_records(run: RunFolder) -> list[tuple[StoredFile, dict[str, object]]]:
    """The newest record of the run's snapshots, and the newest of its index; each if there is one.

    Raises ArtefactDamagedError when a record was changed, ForeignStateError for another format.
    """
    of_snapshots = [
        record
        for link in run.snapshot.chain
        for record in _read(link.folder.child(PARITY), run.snapshot)
    ]
    of_index = list(_read(run.folder.child(PARITY), run.snapshot))
    newest = sorted(of_snapshots, key=lambda record: str(record[1].get("at")))[-1:]
    return [*newest, *of_index[-1:]]


def _records(
    snapshot: Snapshot, run: RunFolder | None
) -> Iterator[tuple[StoredFile, dict[str, object]]]:
    for link in snapshot.chain:
        yield from _read(link.folder.child(PARITY), snapshot)
    if run is not None:
        yield from _read(run.folder.child(PARITY), snapshot)


def _read(folder: Folder, of: Snapshot) -> Iterator[tuple[StoredFile, dict[str, object]]]:
    """The records of a folder, oldest first."""
    for number in sorted(_numbers(folder)):
        file = folder.file(parity_name(number))
        content = file.read(bytes_max=REPORT_BYTES_MAX)
        yield (
            file,
            unseal_json(content, where=str(file), format_version=PARITY_FORMAT, key=of.key),
        )


def _numbers(folder: Folder) -> list[int]:
    return [number for name in folder.names() if (number := _number(name))]


def _number(name: str) -> int:
    """The number of a record by its name; 0 for another file."""
    number = name.partition(".")[0]
    is_record = number.isascii() and number.isdigit() and name == parity_name(int(number))
    return int(number) if is_record else 0


def _cut(file: StoredFile, fields: dict[str, object], values: ValueRules) -> MeasuredCut | None:
    """What a record says about this cut of this vector; None when it is about another one."""
    match fields:
        case {
            "rules": {"vector_name": name, "dimensions": dimensions, "top": int(top), **rules},
            "curve": {**curve},
            "at": str(at),
            "run_id": run_id,
        }:
            pass
        case _:
            raise damaged(str(file), "it lacks members of a parity record")
    if (name, dimensions) != (values.vector_name, values.source_dimensions):
        return None
    match curve.get(str(values.dimensions)):
        case {"overlap": {"mean": float() | int() as mean}, "queries": int(count)}:
            least = rules.get("overlap_min")
            # The least share of a record of an index is about the index, not about the cut.
            if run_id is not None or not isinstance(least, int | float):
                least = None
            return MeasuredCut(
                width=values.dimensions,
                overlap=float(mean),
                top=top,
                queries=count,
                overlap_min=None if least is None else float(least),
                at=at,
                place=str(file),
            )
    return None
