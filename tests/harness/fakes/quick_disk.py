"""The machine's disk without fsync, which thousands of small runs would otherwise wait for.

Everything else is as on the real disk. What a power cut leaves is the business of `faulty_disk`,
which counts the calls instead.
"""

import io
import os
from pathlib import Path

from typing_extensions import override

from migrate.storage.disk import Disk


class QuickDisk(Disk):
    """Raises what the real disk raises for a file that is closed or a folder that is missing."""

    @override
    def sync(self, file: io.FileIO) -> None:
        file.fileno()

    @override
    def sync_folder(self, path: Path) -> None:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
