"""A filter that picks the part of a collection that is read, for both protocols and for a folder.

Its functions are loaded when a filter is used: the models of qdrant-client take half a second.
"""

from typing import TYPE_CHECKING

from migrate.lazy_names import load_when_used

if TYPE_CHECKING:
    from migrate.qdrant.filters.check import parse_filter as parse_filter
    from migrate.qdrant.filters.for_engine import encode_for_engine as encode_for_engine
    from migrate.qdrant.filters.for_grpc import encode_for_grpc as encode_for_grpc
    from migrate.qdrant.filters.for_local_mode import (
        matcher_for_local_mode as matcher_for_local_mode,
    )

load_when_used(
    __name__,
    {
        "parse_filter": "migrate.qdrant.filters.check",
        "encode_for_engine": "migrate.qdrant.filters.for_engine",
        "encode_for_grpc": "migrate.qdrant.filters.for_grpc",
        "matcher_for_local_mode": "migrate.qdrant.filters.for_local_mode",
    },
)
