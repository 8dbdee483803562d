"""The cursor of a walk over the ids of one state."""

import base64
import binascii
from dataclasses import dataclass

import orjson

from sandbox.errors import invalid_cursor


@dataclass(frozen=True, slots=True)
class Walk:
    """What a list cursor holds: the state, and the last row given."""

    index_id: int
    seq: int
    total_count: int
    after: int
    expires_at: float

    def encode(self) -> str:
        """An opaque, URL-safe text."""
        members = (self.index_id, self.seq, self.total_count, self.after, self.expires_at)
        return base64.urlsafe_b64encode(orjson.dumps(members)).decode()

    @classmethod
    def decode(cls, cursor: str) -> "Walk":
        """Raises ServiceError for anything that `encode` did not write."""
        try:
            members = orjson.loads(base64.urlsafe_b64decode(cursor))
            walk = cls(*members)
        except (binascii.Error, ValueError, TypeError) as error:
            raise invalid_cursor() from error
        kinds = (int, int, int, int, float)
        if any(type(one) is not kind for one, kind in zip(members, kinds, strict=True)):
            raise invalid_cursor()
        return walk
