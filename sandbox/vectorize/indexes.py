"""Vector indexes and their metadata indexes: creation, lookup, deletion."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.clock import Clock
from sandbox.errors import (
    duplicate_index_name,
    index_deleted,
    index_not_found,
    invalid_index_config,
    invalid_index_name,
)
from sandbox.limits import DIMENSIONS_MAX, DIMENSIONS_MIN, INDEX_NAME_BYTES_MAX

METRICS = ("cosine", "euclidean", "dot-product")
PRESETS: Mapping[str, tuple[int, str]] = {
    "@cf/baai/bge-small-en-v1.5": (384, "cosine"),
    "@cf/baai/bge-base-en-v1.5": (768, "cosine"),
    "@cf/baai/bge-large-en-v1.5": (1024, "cosine"),
    "openai/text-embedding-ada-002": (1536, "cosine"),
    "cohere/embed-multilingual-v2.0": (768, "cosine"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorIndex:
    """One vector index; its config never changes."""

    index_id: int  # never used again, unlike the name
    name: str
    description: str
    dimensions: int
    metric: str
    preset: str | None
    created_at: float


_COLUMNS = "index_id, name, description, dimensions, metric, preset, created_at"


class VectorIndexes:
    """The account's vector indexes by name."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    def create(self, name: object, description: object, config: object) -> VectorIndex:
        """Create from the members of a request. Raises ServiceError if one is not good."""
        if not isinstance(name, str) or not 0 < len(name.encode()) <= INDEX_NAME_BYTES_MAX:
            raise invalid_index_name()
        if not isinstance(description, str | None):
            raise invalid_index_config("description is not a string")
        dimensions, metric, preset = _checked_config(config)
        try:
            self._connection.execute(
                "INSERT INTO vector_indexes "
                "(name, description, dimensions, metric, preset, created_at) VALUES (?,?,?,?,?,?)",
                (name, description or "", dimensions, metric, preset, self._clock.now()),
            )
        except sqlite3.IntegrityError as error:
            raise duplicate_index_name() from error
        return self.get(name)

    def get(self, name: str) -> VectorIndex:
        """The index of this name. Raises ServiceError without one."""
        rows = self._select("name = ? AND deleted_at IS NULL", name)
        if rows:
            return rows[0]
        if self._select("name = ?", name):
            raise index_deleted()
        raise index_not_found()

    def select_all(self) -> list[VectorIndex]:
        """All vector indexes, in the order of creation."""
        return self._select("deleted_at IS NULL AND ?", 1)

    def delete(self, index: VectorIndex) -> None:
        """Delete the index. Its vectors stay in the database, unreachable."""
        for table in ("mutations", "metadata_indexes"):
            self._connection.execute(
                f"DELETE FROM {table} WHERE index_id = ?",  # noqa: S608 - a constant
                (index.index_id,),
            )
        self._connection.execute(
            "UPDATE vector_indexes SET deleted_at = ? WHERE index_id = ?",
            (self._clock.now(), index.index_id),
        )

    def _select(self, condition: str, value: object) -> list[VectorIndex]:
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM vector_indexes WHERE {condition} ORDER BY index_id",  # noqa: S608 - constants
            (value,),
        )
        return [VectorIndex(**dict(zip(_COLUMNS.split(", "), row, strict=True))) for row in rows]


def _checked_config(config: object) -> tuple[int, str, str | None]:
    if not isinstance(config, dict):
        raise invalid_index_config("config is missing; dimensions and metric belong inside it")
    preset = config.get("preset")
    if preset is not None:
        if not isinstance(preset, str) or preset not in PRESETS:
            raise invalid_index_config("unknown preset")
        return *PRESETS[preset], preset
    dimensions, metric = config.get("dimensions"), config.get("metric")
    if type(dimensions) is not int or not DIMENSIONS_MIN <= dimensions <= DIMENSIONS_MAX:
        raise invalid_index_config(
            f"Dimensions must be in range: [{DIMENSIONS_MIN}, {DIMENSIONS_MAX}]"
        )
    if metric not in METRICS:
        raise invalid_index_config("metric must be one of " + ", ".join(METRICS))
    return dimensions, metric, None
