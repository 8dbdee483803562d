"""What a source sent and a page has no column for: the text of the `irregular` column.

Canonical JSON, in one of four forms. Nothing is lost by any of the first three:

    {"<vector name>": <as received>}           vectors of another shape
    [{...}, "<payload as received>"]           the payload names a key twice
    [{...}, "<payload as received>", "<why>"]  JSON libraries refuse the payload; `payload` is {}
    [{}, null, "unreadable"]                   the source did not give the point, only its id
"""

from collections.abc import Mapping

from migrate.model.canonical import decode_json, encode_canonical_json

_WITH_PAYLOAD = b"["
_PARTS_WITH_WHY = 3
UNREADABLE = b'[{},null,"unreadable"]'


def encode_irregular(
    vectors: Mapping[str, object], payload: str | None, why: str | None = None
) -> bytes | None:
    """The column's value; None when all of the point is regular.

    `payload` is the text of a payload that the payload column does not hold whole. `why` says what
    makes libraries refuse it; None: it names a key twice.
    """
    if payload is not None:
        return encode_canonical_json([dict(vectors), payload, *([] if why is None else [why])])
    return encode_canonical_json(dict(vectors)) if vectors else None


def with_payload_of(irregular: bytes | None, other: bytes | None) -> bytes | None:
    """Split the vectors from the payload."""
    if other is None:
        return irregular
    vectors = b"{}" if irregular is None else irregular
    return b"[" + vectors + other[other.index(b"{}") + 2 :]


def payload_is_irregular(irregular: bytes | None) -> bool:
    """Whether the payload column holds less than what the source sent."""
    return irregular is not None and irregular.startswith(_WITH_PAYLOAD)


def is_unreadable(irregular: bytes | None) -> bool:
    """Whether only the id of this point could be read."""
    return irregular == UNREADABLE


def refused_why(irregular: bytes | None) -> str | None:
    """What makes JSON libraries refuse the payload; None when they read it."""
    if not payload_is_irregular(irregular) or is_unreadable(irregular):
        return None
    parts = _parts(irregular)
    return str(parts[2]) if len(parts) == _PARTS_WITH_WHY else None


def irregular_vectors(irregular: bytes | None) -> bytes | None:
    """The vectors as text; None when there are none."""
    if irregular is None or not payload_is_irregular(irregular):
        return irregular
    parts = _parts(irregular)
    return encode_canonical_json(parts[0]) if parts[0] else None


def _parts(irregular: bytes | None) -> list[object]:
    parts = decode_json(irregular or b"[]")
    assert isinstance(parts, list)
    return parts
