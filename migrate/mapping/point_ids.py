"""The id of the point that holds a vector which came into being on the new side. Pure."""

import uuid

from migrate.model.records import VectorId


def point_id_of(vector_id: VectorId) -> str:
    """The id of the point that holds a vector: a UUID, version 5 in the namespace of OIDs.

    Qdrant takes no text such as `report_0` as an id. The rule never changes: the file store and a
    restore of later writes have to give a vector one point.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_OID, vector_id))
