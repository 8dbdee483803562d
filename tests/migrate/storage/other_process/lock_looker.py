"""A process of its own that looks at a folder's lock again and again, until stdin ends."""

import sys
import threading
from pathlib import Path

from migrate.errors import RunLockedError
from migrate.storage.folder_lock import FolderLock, process_at_work
from migrate.storage.local_folder import LocalFolder

folder = LocalFolder(Path(sys.argv[1]))
ended = threading.Event()


def wait_for_the_end() -> None:
    sys.stdin.read()
    ended.set()


threading.Thread(target=wait_for_the_end, daemon=True).start()
sys.stdout.write("looking\n")
sys.stdout.flush()
while not ended.is_set():
    process_at_work(folder)
    try:
        FolderLock(folder).look()
    except RunLockedError:
        continue
