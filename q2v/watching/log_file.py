"""The file of --log-file: everything that the command writes, each line with its time."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from migrate.clock import SystemClock
from migrate.errors import UsageError
from migrate.model.stamps import iso_stamp
from migrate.storage.disk import disk
from migrate.storage.durable import local_io
from q2v.output.logs import PROCESS_MASKER
from q2v.output.named_files import named_head
from q2v.output.terminal import copies_to, escape_terminal, write_text

_STAMPED = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S* ")  # how each of its lines begins


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Add what is written while this lasts to the end of the file, which is made if need be.

    A bar is there as a line when it starts and one a minute. Raises UsageError for a file that is
    no log, and LocalStorageError. When a line cannot be added later, as on a full disk, a warning
    says so once, no further line is added, and the command continues.
    """
    clock = SystemClock()
    head = named_head(path, flag="--log-file")
    if head and not _STAMPED.match(head):
        raise UsageError(
            f"--log-file {path}: found a file that is not a log of q2v; nothing is added to it",
            remedy="name another file",
        )
    with local_io("opening", path):
        file = disk().open_to_append(path)

    stopped = False

    def add(text: str) -> None:
        nonlocal stopped
        if stopped:
            return
        stamp = iso_stamp(clock.wall_s())
        texts = filter(None, text.splitlines())
        lines = [escape_terminal(PROCESS_MASKER.mask(line)) for line in texts]
        content = "".join(f"{stamp} {line}\n" for line in lines).encode()
        try:
            while content:
                content = content[file.write(content) :]
        except OSError as error:
            stopped = True  # first: the warning is a text too
            why = error.strerror or type(error).__name__
            write_text(sys.stderr, f"warning: --log-file {path} ends here: {why}\n")

    with file, copies_to(add):
        yield
