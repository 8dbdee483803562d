"""A filter over points of the Python client's local mode, evaluated by that client's own code."""

from collections.abc import Callable, Mapping

from qdrant_client import models
from qdrant_client.local.payload_filters import check_filter

from migrate.model.records import PointId
from migrate.qdrant.filters.point_filter import PointFilter

Matches = Callable[[PointId, Mapping[str, object], Mapping[str, bool]], bool]


def matcher_for_local_mode(point_filter: PointFilter) -> Matches:
    """Whether a point matches, by its id, its payload, and its vectors by name: are they there.

    The function raises UsageError when the filter cannot be evaluated for a point.
    """
    model = models.Filter.model_validate_json(point_filter.text, strict=True)

    def matches(
        point_id: PointId, payload: Mapping[str, object], vectors: Mapping[str, bool]
    ) -> bool:
        try:
            return check_filter(model, dict(payload), point_id.wire, dict(vectors))
        except (TypeError, ValueError) as error:
            raise point_filter.refused(
                f"point {point_id.text}: the filter cannot be evaluated: {error}"
            ) from error

    return matches
