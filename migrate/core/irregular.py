"""What a source sent and no column of a page can hold: the text of the `irregular` column.

Canonical JSON: `{"<vector name>": <as received>}` for vectors of another shape; with a payload
that names a key twice, `[{...}, "<payload as received>"]`. Nothing is lost by either.
"""

from collections.abc import Mapping

from migrate.core.canonical import decode_json, encode_canonical_json

_WITH_PAYLOAD = b"["


def encode_irregular(vectors: Mapping[str, object], payload: str | None) -> bytes | None:
    """The column's value; None when all of the point is regular."""
    if payload is not None:
        return encode_canonical_json([dict(vectors), payload])
    return encode_canonical_json(dict(vectors)) if vectors else None


def payload_is_irregular(irregular: bytes | None) -> bool:
    """Whether the payload column holds less than what the source sent."""
    return irregular is not None and irregular.startswith(_WITH_PAYLOAD)


def irregular_vectors(irregular: bytes | None) -> bytes | None:
    """The vectors' part as text; None without any."""
    if irregular is None or not payload_is_irregular(irregular):
        return irregular
    parts = decode_json(irregular)
    assert isinstance(parts, list)
    return encode_canonical_json(parts[0]) if parts[0] else None
