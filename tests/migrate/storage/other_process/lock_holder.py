"""A process of its own that takes a folder's lock, says so, and holds it until stdin ends."""

import sys
from pathlib import Path

from migrate.errors import RunLockedError
from migrate.storage.folder_lock import FolderLock
from migrate.storage.local_folder import LocalFolder

try:
    with FolderLock(LocalFolder(Path(sys.argv[1]))):
        sys.stdout.write("locked\n")
        sys.stdout.flush()
        sys.stdin.read()
except RunLockedError as error:
    sys.stdout.write(f"refused: {error}\n")
    sys.exit(error.exit_code)
