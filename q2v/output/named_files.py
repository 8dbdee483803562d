"""Files that the operator names to be written: checked before the work, and never another's."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from migrate.errors import LocalStorageError, UsageError
from migrate.storage.disk import disk
from migrate.storage.durable import TEMPORARY_SUFFIX, local_io

_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Kind:
    """What a command writes into a file that is named to it."""

    noun: str  # with its article
    marks: tuple[bytes, ...]  # all of them are in the first 64 KiB of such a file


def check_result_file(path: Path, *, flag: str, kind: Kind) -> None:
    """Check the file of a result, which replaces none but an empty one and one of its kind.

    Called before the work, so that nothing is lost at its end. Raises UsageError for another file,
    a link, a folder, a pipe or a device, and for a folder that does not exist; LocalStorageError
    for a folder in which no file can be made.
    """
    head = named_head(path, flag=flag)
    if head and not all(mark in head for mark in kind.marks):
        raise UsageError(
            f"{flag} {path}: found a file that is not {kind.noun}; it is left as it is",
            remedy=f"name another file for {kind.noun}, or move this one away",
        )
    _check_room(path, flag)


def named_head(path: Path, *, flag: str) -> bytes:
    """The first bytes of a file that is named to be written; none when it does not exist.

    Raises UsageError for anything that is not a file, or has no folder.
    """
    folder = path.parent
    if not disk().exists(folder) or disk().is_file(folder):
        raise UsageError(
            f"{flag} {path}: there is no folder {folder}",
            remedy="make the folder, or correct the path",
        )
    if disk().is_link(path):
        raise UsageError(
            f"{flag} {path}: found a link, expected a file or nothing",
            remedy="name the file that the link leads to, or another one",
        )
    if not disk().exists(path):
        return b""
    if not disk().is_file(path):
        raise UsageError(
            f"{flag} {path}: found a folder, a pipe or a device, expected a file or nothing",
            remedy="name another file",
        )
    with local_io("reading", path), disk().open_to_read(path) as file:
        return file.read(_HEAD_BYTES)


@contextmanager
def only_writer(path: Path | None) -> Iterator[None]:
    """While it lasts no other q2v writes a file that is named to it in this folder.

    Two commands may be given one name at the same time: each file is whole, and the last one
    stays. None: no file is named. Raises LocalStorageError.
    """
    if path is None:
        yield
        return
    with ExitStack() as stack:
        with local_io("locking", path.parent):
            stack.enter_context(disk().alone_in(path.parent))
        yield


def _check_room(path: Path, flag: str) -> None:
    """Make a file beside the one that will be written, and remove it."""
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
    try:
        with local_io("making", temporary), disk().alone_in(path.parent):
            disk().remove(temporary)
            disk().create(temporary).close()
            disk().remove(temporary)
    except LocalStorageError as error:  # its advice is about --dir, and this file is elsewhere
        raise LocalStorageError(
            f"{flag} {path}: {error}",
            remedy=f"make the folder {path.parent} writable for this user, or name another file",
        ) from error
