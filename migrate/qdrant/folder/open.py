"""Open what `source.path` names: a store, a server's folder or snapshot, or a client's folder."""

from collections.abc import Callable
from pathlib import Path

from migrate.ports import PointSource
from migrate.qdrant.filters.point_filter import PointFilter
from migrate.qdrant.folder.local_mode.layout import is_local_mode
from migrate.qdrant.folder.local_mode.source import LocalModeSource
from migrate.qdrant.folder.server_snapshot.source import SnapshotFileSource
from migrate.qdrant.folder.source import EdgeSource
from migrate.storage.disk import disk


def open_stored_source(
    path: Path,
    *,
    collection: str,
    copies: Path,
    say: Callable[[str], None],
    point_filter: PointFilter | None = None,
) -> PointSource:
    """The source at a path, chosen by what lies there, which `say` reports.

    `copies` is the folder for copies of the store, or for what is unpacked. Only points that match
    `point_filter` are read. Raises as the sources.
    """
    reader: type[LocalModeSource | EdgeSource] = EdgeSource
    if disk().is_file(path):
        reader = SnapshotFileSource
    elif is_local_mode(path):
        reader = LocalModeSource
    source = reader(path, collection=collection, copies=copies, say=say, point_filter=point_filter)
    say(f"{path} is {source.kind()}")
    return source
