"""A filter as a message of gRPC, by the conversion that qdrant-client has."""

from qdrant_client import models
from qdrant_client.conversions.conversion import RestToGrpc

from migrate.qdrant.filters.point_filter import PointFilter
from migrate.qdrant.grpc.messages import wire


def encode_for_grpc(point_filter: PointFilter) -> wire.Filter:
    """The message. Raises UsageError for what it cannot hold, as an integer beyond 64 bits."""
    model = models.Filter.model_validate_json(point_filter.text, strict=True)
    try:
        return RestToGrpc.convert_filter(model)
    except (TypeError, ValueError) as error:
        raise point_filter.refused(f"gRPC cannot carry the filter: {error}") from error
