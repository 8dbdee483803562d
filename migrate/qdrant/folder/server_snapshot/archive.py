"""Read a tar archive that another program wrote: regular files and folders, nothing else.

Nothing is written before the whole archive was listed. Links, devices, paths that lead elsewhere, a
path twice and a cut archive are refused. The library reads the headers; it ends a listing silently
at a header that it cannot read, so the end is checked here.
"""

import io
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import IO, cast

from migrate.errors import MigrationError, PreconditionError
from migrate.qdrant.folder.copy import reserve
from migrate.storage.disk import disk

BLOCK_BYTES = 512  # of a tar archive
END_BYTES = 2 * BLOCK_BYTES  # zeros after the last member
COPIED_BYTES = 1 << 20  # at once
_ZEROS = bytes(COPIED_BYTES)
MEMBERS_MAX = 200_000  # a header of each is kept in memory
FOLDERS_DEEP_MAX = 20
NAME_BYTES_MAX, PATH_BYTES_MAX = 255, 1_024  # file systems take no longer names; paths of 4,096
SHOWN_MAX = 200  # characters of a refused name
DOWNLOAD_AGAIN = (
    "download the snapshot again and compare its SHA-256 with that of the server, or read the "
    "running server with source.url"
)


class Archive:
    """The files of a tar archive, listed and checked. Not safe to use from several threads."""

    def __init__(self, file: IO[bytes], where: str) -> None:
        """`where` names the archive in errors.

        Raises PreconditionError for an archive that is cut, or holds anything but files and
        folders below its own root.
        """
        self.where = where
        self._bytes = file.seek(0, io.SEEK_END)
        file.seek(0)
        with self._reading():
            self._tar = tarfile.TarFile(fileobj=file, mode="r")
            self._files = self._list()
            self._check_end(file)

    @property
    def paths(self) -> tuple[PurePosixPath, ...]:
        """The paths of all files, as they lie in the archive."""
        return tuple(self._files)

    def bytes_of(self, path: PurePosixPath) -> int:
        """The size of a file when it is unpacked, holes included."""
        return self._files[path].size

    @contextmanager
    def opened(self, path: PurePosixPath) -> Iterator[IO[bytes]]:
        """The content of a file."""
        with self._reading():
            file = self._tar.extractfile(self._files[path])
            assert file is not None  # only regular files are listed
            with file:
                yield file

    def unpack(self, path: PurePosixPath, target: Path) -> None:
        """Write a file; its holes, and other long runs of zeros, are reserved and not written."""
        with self.opened(path) as read, io.BufferedWriter(disk().create(target)) as write:
            while block := read.read(COPIED_BYTES):
                if _is_zeros(block):
                    write.seek(len(block), io.SEEK_CUR)
                else:
                    write.write(block)
            size = write.tell()
            reserve(write.fileno(), size)
        if size != self.bytes_of(path):
            raise self.refused(f"its file {path} has {size:,} bytes, its header says otherwise")

    def refused(self, why: str, *, remedy: str = DOWNLOAD_AGAIN) -> PreconditionError:
        """The error for an archive that is not what a server writes, or not enough of it."""
        return PreconditionError(
            f"{self.where} is no snapshot that q2v can read: {why}", remedy=remedy
        )

    def _list(self) -> dict[PurePosixPath, tarfile.TarInfo]:
        files: dict[PurePosixPath, tarfile.TarInfo] = {}
        folders: set[PurePosixPath] = set()
        for count, member in enumerate(self._tar, start=1):
            if count > MEMBERS_MAX:
                raise self.refused(f"it has more than {MEMBERS_MAX:,} members")
            path = self._checked(member)
            if member.isdir():
                folders.add(path)
                continue
            if path in files:
                raise self.refused(f"it has {path} twice")
            files[path] = member
            folders.update(path.parents)
        both = folders & files.keys()
        if both:
            raise self.refused(f"{min(both)} is both a file and a folder in it")
        return files

    def _checked(self, member: tarfile.TarInfo) -> PurePosixPath:
        """The path of a member. The first part `.` is left out, as a server writes it."""
        name = member.name.encode("utf-8", "surrogateescape")
        shown = repr(member.name[:SHOWN_MAX])
        if not (member.isreg() or member.isdir()):
            raise self.refused(f"its member {shown} is neither a file nor a folder")
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\0" in member.name:
            raise self.refused(f"its member {shown} leads out of its folder")
        if len(path.parts) > FOLDERS_DEEP_MAX:
            raise self.refused(f"its member {shown} is too deep")
        if len(name) > PATH_BYTES_MAX or any(
            len(part) > NAME_BYTES_MAX for part in name.split(b"/")
        ):
            raise self.refused(f"its member {shown}... has a longer name than a file can have")
        if member.isreg() and not path.parts:
            raise self.refused(f"its member {shown} has no name")
        # The library has the ranges of a sparse file here: start and length of each.
        ranges = cast(Sequence[tuple[int, int]], member.sparse or ())
        sparse = [(start, length) for start, length in ranges if length]
        stored = sum(length for _, length in sparse) if ranges else member.size
        ascending = all(
            length >= 0 and start + length <= following
            for (start, length), (following, _) in pairwise([(0, 0), *sparse, (member.size, 0)])
        )
        if not ascending or member.size < 0 or member.offset_data + stored > self._bytes:
            raise self.refused(f"it ends before its member {shown} does")
        return path

    def _check_end(self, file: IO[bytes]) -> None:
        """Two blocks of zeros, and nothing after them but zeros."""
        file.seek(self._tar.offset)
        found = 0
        while block := file.read(COPIED_BYTES):
            if not _is_zeros(block):
                raise self.refused(f"a header after byte {self._tar.offset:,} is damaged")
            found += len(block)
        if found < END_BYTES:
            raise self.refused("it is cut: the zeros at its end are missing")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Translate what the library raises for headers that no program writes."""
        try:
            yield
        except (OSError, MigrationError):
            raise
        except Exception as error:
            raise self.refused(f"it is no tar archive that can be read ({error})") from error


def _is_zeros(block: bytes) -> bool:
    """Whether a block of at most COPIED_BYTES is a hole; seen at the first byte of most others."""
    return _ZEROS.startswith(block)
