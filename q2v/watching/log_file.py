"""The file of --log-file: everything that the command writes, each line with its time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from migrate.clock import SystemClock
from migrate.errors import UsageError
from migrate.model.stamps import iso_stamp
from migrate.storage.disk import disk
from migrate.storage.durable import local_io
from q2v.output.logs import PROCESS_MASKER
from q2v.output.terminal import copies_to, escape_terminal


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Add what is written while this lasts to the end of the file, which is made if need be.

    A bar is there as a line when it starts and one a minute. Raises LocalStorageError.
    """
    clock = SystemClock()
    if disk().is_folder(path):
        raise UsageError(
            f"--log-file {path}: found a folder, expected a file", remedy="name a file in it"
        )
    with local_io("opening", path):
        file = disk().open_to_append(path)

    def add(text: str) -> None:
        stamp = iso_stamp(clock.wall_s())
        texts = filter(None, text.splitlines())
        lines = [escape_terminal(PROCESS_MASKER.mask(line)) for line in texts]
        with local_io("writing", path):
            file.write("".join(f"{stamp} {line}\n" for line in lines).encode())

    with file, copies_to(add):
        yield
