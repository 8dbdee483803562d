"""Ids that are made: of a vector whose id does not fit, of a point for a vector of the new side."""

import base64
import hashlib
import uuid

from migrate.model.limits import VECTOR_ID_BYTES_MAX
from migrate.model.records import VectorId

DIGEST_BITS = 192
SIGN = "~"
_DIGEST_CHARACTERS = DIGEST_BITS // 6  # base64url
_PREFIX_BYTES_MAX = VECTOR_ID_BYTES_MAX - len(SIGN) - _DIGEST_CHARACTERS


def hash_long_id(text: str) -> VectorId:
    """`{prefix}~{digest}`: the text's first characters, and the first bits of its SHA-256.

    The prefix is for people: as many characters as leave room. The digest is base64url.
    """
    digest = hashlib.sha256(text.encode()).digest()[: DIGEST_BITS // 8]
    prefix = text.encode()[:_PREFIX_BYTES_MAX].decode(errors="ignore")
    return VectorId(f"{prefix}{SIGN}{base64.urlsafe_b64encode(digest).decode()}")


def collision_bound(ids: int) -> float:
    """An upper bound of the chance that two of this number of texts get one digest."""
    return float(ids * max(0, ids - 1)) / float(2 ** (DIGEST_BITS + 1))


def point_id_of(vector_id: VectorId) -> str:
    """The id of the point that holds a vector: a UUID, version 5 in the namespace of OIDs.

    Qdrant takes no text such as `report_0` as an id. The rule never changes: the file store and a
    restore of later writes have to give a vector one point.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_OID, vector_id))
