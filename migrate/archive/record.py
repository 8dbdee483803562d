"""archive.json, the first member of an archive: what it holds, and the SHA-256 of every file."""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from migrate.archive.tar import is_fit_path
from migrate.model.hmac_key import SealKey
from migrate.model.sealed_json import damaged, seal_json, unseal_json

ARCHIVE_FORMAT = 1
RECORD_BYTES_MAX = 256 * 1024 * 1024  # about 170 B a file: a million parts


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedFile:
    """One member: a file of the chain or its runs, or a page for readers."""

    path: str  # below the folder that the archive unpacks to
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedSnapshot:
    """One link of the chain."""

    snapshot_id: str
    content_root: str
    points: int  # of the whole: the links before it, with the changes applied
    set_digest: str
    moving: bool
    payload_only: bool = False  # vectors were read only where the payload changed
    filter: str | None = None  # that picked the points; None: the whole collection


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedVerdict:
    """One finished reconcile of a run."""

    ordinal: int  # the number of the reconcile within the run
    verdict: str
    at: str | None  # RFC 3339
    coverage: object  # as in report.json
    current: bool  # the run has written nothing since


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedRun:
    """One run of a link."""

    snapshot_id: str
    run_id: str
    fingerprint: str  # of its plan
    phase: str
    verdicts: tuple[ArchivedVerdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRecord:
    """The content of archive.json."""

    tool: str  # what wrote it
    snapshot_id: str  # of the run that was archived
    run_id: str
    collection: str
    final: bool
    why_not_final: str | None  # None: it is final
    chain: tuple[ArchivedSnapshot, ...]  # the whole snapshot first
    runs: tuple[ArchivedRun, ...]  # of all links, oldest first
    files: tuple[ArchivedFile, ...]  # by path; all members but archive.json itself

    @property
    def folder(self) -> str:
        """The folder that the archive unpacks to."""
        return folder_name(self.snapshot_id, self.run_id)


def folder_name(snapshot_id: str, run_id: str) -> str:
    """The folder that the archive of a run unpacks to."""
    return f"{snapshot_id}-{run_id}"


def encode_record(record: ArchiveRecord, key: SealKey | None) -> bytes:
    """The file's content, sealed by its own digest and, with a key, an HMAC."""
    fields = {"format": ARCHIVE_FORMAT, **asdict(record)}
    for link in fields["chain"]:
        if not link["payload_only"]:  # as earlier versions wrote it
            del link["payload_only"]
        if link["filter"] is None:
            del link["filter"]
    return seal_json(fields, key)


def decode_record(content: bytes, *, where: str, key: SealKey | None) -> ArchiveRecord:
    """The inverse of `encode_record`; raises as `unseal_json` does.

    The paths are fit for a member and ascend, so that none stands twice.
    """
    fields: dict[str, Any] = unseal_json(
        content, where=where, format_version=ARCHIVE_FORMAT, key=key
    )
    del fields["format"]
    try:
        record = _record(fields)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(where, f"a field is missing or of another type ({error})") from error
    paths = [file.path for file in record.files]
    for path in paths:
        if not is_fit_path(f"{record.folder}/{path}"):
            raise damaged(where, f"it names a file {path[:200]!r}, which q2v does not write")
    for one, next_ in pairwise(paths):
        if one >= next_:
            raise damaged(where, f"its files are not in order at {next_[:200]!r}")
    return record


def _record(fields: dict[str, Any]) -> ArchiveRecord:
    files = tuple(map(_file, fields.pop("files")))
    runs = tuple(
        ArchivedRun(**{**run, "verdicts": tuple(ArchivedVerdict(**v) for v in run["verdicts"])})
        for run in fields.pop("runs")
    )
    chain = tuple(ArchivedSnapshot(**link) for link in fields.pop("chain"))
    # The types of the remaining members need no check: the file's digest matches.
    record = ArchiveRecord(files=files, runs=runs, chain=chain, **fields)
    if not chain or chain[-1].snapshot_id != record.snapshot_id:
        raise ValueError("chain")
    if not any((run.snapshot_id, run.run_id) == _named(record) for run in runs):
        raise ValueError("runs")
    return record


def _file(fields: dict[str, Any]) -> ArchivedFile:
    match fields:
        case {"path": str(), "bytes": int() as size, "sha256": str()} if size >= 0:
            return ArchivedFile(**fields)
        case _:
            raise ValueError("files")


def _named(record: ArchiveRecord) -> tuple[str, str]:
    return record.snapshot_id, record.run_id
