"""Write the archive of a run: one file with its snapshot chain and all runs, verified by reading.

The same files give the same bytes: members are sorted, their headers hold no time and no user, and
zstd works at one level in one thread. So an archive that exists already is compared, and a second
one is never needed.
"""

import hashlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from migrate.archive.check import check_runs
from migrate.archive.frames import FrameWriter, frames_bytes_max
from migrate.archive.members import Member, list_members
from migrate.archive.open import read_record
from migrate.archive.readme import write_readme
from migrate.archive.record import ArchivedFile, ArchiveRecord, encode_record
from migrate.archive.standing import describe_chain, describe_runs, find_obstacle
from migrate.archive.tar import END, encode_header, padding, span
from migrate.archive.verify import VerifiedArchive, verify_archive
from migrate.errors import (
    ArtefactDamagedError,
    ForeignStateError,
    LocalStorageError,
    PreconditionError,
)
from migrate.model.hmac_key import SealKey
from migrate.model.sealed_json import damaged
from migrate.ports import Progress
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.snapshot.folder import part_file
from migrate.storage.folder import Folder, StoredFile
from migrate.storage.layout import (
    ARCHIVE_FORMATS,
    ARCHIVE_README,
    ARCHIVE_RECORD,
    archive_name,
    newest_archive,
)

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveOptions:
    """What the caller decides."""

    tool: str  # name and version, for archive.json
    not_final: bool = False  # a run that is not final may be archived
    numbered: bool = False  # an archive of an earlier state stays, and this one gets a number


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveReport:
    """The archive that exists now."""

    path: str
    record: ArchiveRecord
    bytes: int
    sha256: str  # of the file: for the change ticket
    reused: bool  # it existed already, with these contents
    left_out: tuple[str, ...]  # paths beside the chain that are not part of it


def write_archive(
    run: RunFolder, out: StoredFile, options: ArchiveOptions, runtime: Runtime
) -> ArchiveReport:
    """Write the archive of a run to `out`, or verify that it is there already.

    With `options.numbered` only the folder of `out` counts.

    The caller holds the lock of the folder of the snapshots, and that of the folder of `out`. The
    file is written under another name, read back and checked as `verify_archive` does, and gets its
    name last. Raises PreconditionError for a run that is not final, unless that is allowed, and
    when `out` exists with other content; LocalStorageError when the disk is too small;
    ArtefactDamagedError when a file of the chain is damaged.
    """
    obstacle = find_obstacle(run)
    if obstacle is not None and not options.not_final:
        raise PreconditionError(
            f"run {run.plan.run_id} cannot be archived as final: {obstacle.means}",
            remedy=f"{obstacle.remedy}; or archive it as it is with `q2v archive --not-final`",
        )
    check_runs(run.snapshot)
    members = list_members(run)
    files = tuple(_hash_members(run, members.files, runtime.progress))
    record = ArchiveRecord(
        tool=options.tool,
        snapshot_id=run.plan.snapshot_id,
        run_id=run.plan.run_id,
        collection=run.snapshot.manifest.collection,
        final=obstacle is None,
        why_not_final=None if obstacle is None else obstacle.means,
        chain=describe_chain(run.snapshot),
        runs=tuple(describe_runs(run.snapshot)),
        files=files,
    )
    pages = {
        ARCHIVE_README: write_readme(record, run.snapshot),
        ARCHIVE_FORMATS: read_formats_page(),
    }
    record = replace(record, files=_with_pages(files, pages))
    content = encode_record(record, run.snapshot.key)
    draft = _Draft(record, content, {one.path: one.stored for one in members.files}, pages)
    if options.numbered:
        out = _next_place(out.folder, draft, run.snapshot.key)
    reused = out.is_there()
    done = _verify_same if reused else _write
    checked = done(out, draft, run.snapshot.key, runtime.progress)
    return ArchiveReport(
        path=str(out),
        record=record,
        bytes=checked.bytes,
        sha256=checked.sha256,
        reused=reused,
        left_out=members.left_out,
    )


@dataclass(frozen=True, slots=True)
class _Draft:
    """Everything that goes into an archive."""

    record: ArchiveRecord
    content: bytes  # of archive.json
    stored: Mapping[str, StoredFile]  # path -> file of the chain
    pages: Mapping[str, bytes]  # path -> content


def read_formats_page() -> bytes:
    """docs/formats.md, which is installed with the library."""
    page = pkgutil.get_data("migrate.archive", ARCHIVE_FORMATS)
    assert page is not None, "a part of the installation"
    return page


def _hash_members(
    run: RunFolder, members: Sequence[Member], progress: Progress
) -> Iterator[ArchivedFile]:
    """Size and SHA-256 of each file. Raises ArtefactDamagedError for a damaged part."""
    parts = {str(part_file(part.folder, part.part)): part for part in run.snapshot.stored_parts()}
    progress.start("reading files", total=len(members), unit="files")
    for member in members:
        part = parts.get(str(member.stored))
        if part is not None and not member.stored.is_there():
            part.check()  # it raises, with the remedy for this part
        size, sha256 = member.stored.hash()
        if part is not None and (size, sha256) != (part.part.bytes, part.part.sha256):
            part.check()
        yield ArchivedFile(path=member.path, bytes=size, sha256=sha256)
        progress.advance(1, bytes_=size)


def _next_place(folder: Folder, draft: _Draft, key: SealKey | None) -> StoredFile:
    """The newest archive of the run when it holds these contents, else the place of a new one."""
    named = (draft.record.snapshot_id, draft.record.run_id)
    number = newest_archive(folder.names(), *named)
    if number:
        newest = folder.file(archive_name(*named, number))
        with suppress(ArtefactDamagedError, ForeignStateError):
            if read_record(newest, key) == draft.content:
                return newest
    return folder.file(archive_name(*named, number + 1))


def _verify_same(
    out: StoredFile, draft: _Draft, key: SealKey | None, progress: Progress
) -> VerifiedArchive:
    """The archive that exists already; raises PreconditionError when it is not this one."""
    try:
        if read_record(out, key) == draft.content:
            return verify_archive(out, key, progress)
        why = "an archive of other files, or of the same files in an earlier state"
    except (ArtefactDamagedError, ForeignStateError) as error:
        why = str(error)
    raise PreconditionError(
        f"{out} exists with other content ({why})",
        remedy="move it away, or name another file with `q2v archive --out FILE`; nothing was "
        "replaced",
    )


def _write(
    out: StoredFile, draft: _Draft, key: SealKey | None, progress: Progress
) -> VerifiedArchive:
    """Pack, read back, and only then give the file its name."""
    out.folder.make()
    _check_room(out, draft)
    checked: list[VerifiedArchive] = []

    def check(written: StoredFile) -> None:
        try:
            checked.append(verify_archive(written, key, progress))
        except ArtefactDamagedError as error:
            raise ArtefactDamagedError(
                f"the archive was written and does not pass its check: {error}",
                remedy="no archive was kept; `q2v verify` checks the snapshot in the folder: if it "
                "is whole, check memory and disk of this machine, then archive again",
            ) from error

    with out.folder.open_to_create(out.name, check=check) as file:
        _pack(draft, FrameWriter(file), progress)
    return checked[0]


def _check_room(out: StoredFile, draft: _Draft) -> None:
    """Raises LocalStorageError when the archive might not fit."""
    sizes = [len(draft.content), *(file.bytes for file in draft.record.files)]
    needed = frames_bytes_max(sum(map(span, sizes)) + len(END))
    room = out.folder.room_bytes()
    if room is not None and needed > room:
        raise LocalStorageError(
            f"the archive takes up to {needed:,} bytes, and {out.folder} has {room:,} free",
            remedy="free some disk space, or name a file on a larger disk with --out",
        )


def _pack(draft: _Draft, frames: FrameWriter, progress: Progress) -> None:
    """Write the members in the order of archive.json, which comes first."""
    folder = draft.record.folder
    frames.write(encode_header(f"{folder}/{ARCHIVE_RECORD}", len(draft.content)))
    frames.write(draft.content + padding(len(draft.content)))
    progress.start("writing the archive", total=len(draft.record.files), unit="files")
    for file in draft.record.files:
        frames.write(encode_header(f"{folder}/{file.path}", file.bytes))
        if file.path in draft.pages:
            frames.write(draft.pages[file.path])
        else:
            _copy(draft.stored[file.path], file, frames)
        frames.write(padding(file.bytes))
        progress.advance(1, bytes_=file.bytes)
    frames.write(END)
    frames.finish()


def _copy(stored: StoredFile, expected: ArchivedFile, frames: FrameWriter) -> None:
    """Raises ArtefactDamagedError when the file is not as it was when it was hashed."""
    digest, size = hashlib.sha256(), 0
    with stored.open_to_read() as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
            size += len(block)
            frames.write(block)
    if (size, digest.hexdigest()) != (expected.bytes, expected.sha256):
        raise damaged(
            str(stored),
            "it changed while it was archived",
            remedy="stop what writes to the folder, then archive again",
        )


def _with_pages(
    files: Iterable[ArchivedFile], pages: Mapping[str, bytes]
) -> tuple[ArchivedFile, ...]:
    """The files of the chain and the pages, by path."""
    added = (
        ArchivedFile(path=path, bytes=len(page), sha256=hashlib.sha256(page).hexdigest())
        for path, page in pages.items()
    )
    return tuple(sorted([*files, *added], key=lambda file: file.path))
