"""A change to one of the operator's files: read, shown, written whole or not at all."""

import difflib
from dataclasses import dataclass
from pathlib import Path

from migrate.errors import LocalStorageError, PreconditionError, UsageError
from migrate.storage.disk import disk
from migrate.storage.durable import local_io, write_for_others

FILE_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileChange:
    """What a file holds now, and what it is to hold."""

    path: Path
    before: bytes | None  # None: there is no such file
    after: bytes

    @property
    def is_change(self) -> bool:
        """Whether there is anything to write."""
        return self.before != self.after

    def diff(self) -> list[str]:
        """The lines that differ, with three around them, as `diff -u` shows them."""
        name = str(self.path)
        former = "/dev/null" if self.before is None else name
        old, new = (self.before or b"").decode(), self.after.decode()
        return list(
            difflib.unified_diff(old.splitlines(), new.splitlines(), former, name, lineterm="")
        )

    def write(self) -> None:
        """Write the file; the mode of an existing one is kept.

        Raises PreconditionError when it is not as it was read, LocalStorageError.
        """
        if not self.is_change:
            return
        if read_file(self.path) != self.before:
            raise PreconditionError(
                f"{self.path} has changed since it was read; it is not written",
                remedy="run the same command again",
            )
        try:
            write_for_others(self.path, self.after)
        except LocalStorageError as error:  # its advice is about --dir, and this file is elsewhere
            raise LocalStorageError(
                str(error),
                remedy=f"make the folder {self.path.parent} writable, with room for the file, or "
                "name another file; the file is as it was",
            ) from error


def read_file(path: Path) -> bytes | None:
    """The content; None without such a file.

    Raises UsageError for a link, a folder or a device, a file that is too large, or a folder that
    does not exist; LocalStorageError when the file cannot be read.
    """
    if disk().is_link(path):
        raise UsageError(
            f"{path} is a link, a file was expected", remedy="name the file that it leads to"
        )
    if disk().is_file(path.parent) or not disk().exists(path.parent):
        raise UsageError(
            f"{path}: there is no folder {path.parent}",
            remedy="make the folder, or correct the path",
        )
    if not disk().exists(path):
        return None
    if not disk().is_file(path):
        raise UsageError(f"{path} is no regular file, one was expected", remedy="name another file")
    with local_io("reading", path), disk().open_to_read(path) as file:
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise UsageError(
            f"{path}: found more than {FILE_BYTES_MAX:,} B, expected a configuration file",
            remedy="correct the path",
        )
    return content


def new_file(path: Path, content: bytes) -> FileChange:
    """A file that is made, or has this content already. Raises PreconditionError for another."""
    before = read_file(path)
    if before not in {None, content}:
        raise PreconditionError(
            f"{path} exists with another content; q2v changes no TypeScript",
            remedy="add the interface by hand, as `q2v provision` without --env-types prints it, "
            "or name a new file",
        )
    return FileChange(path, before, content)
