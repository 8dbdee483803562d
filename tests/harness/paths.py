"""The path behind a local folder or a file of one, for tests that look at the disk itself."""

from pathlib import Path

from migrate.storage.folder import Folder, StoredFile


def path_of(place: Folder | StoredFile) -> Path:
    """Where a place lies; the address of a local one is its path."""
    return Path(str(place))
