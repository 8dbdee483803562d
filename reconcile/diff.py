"""Compare two streams of digests and name every difference. Pure: values in, values out."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from migrate.model.records import VectorId


class DriftKind(StrEnum):
    """The four ways in which a record can differ, with the symbols of `rclone check`."""

    MISSING = "missing"  # expected, not there
    EXTRA = "extra"  # there, not expected
    MISMATCHED = "mismatched"  # there, with other content
    UNREADABLE = "unreadable"  # there, but its content could not be read

    @property
    def symbol(self) -> str:
        """`+ - * !` as in rclone's combined report."""
        return {"missing": "+", "extra": "-", "mismatched": "*", "unreadable": "!"}[self.value]


class Ordered(Protocol):
    """A key that can be compared with its like."""

    def __lt__(self, other: Any, /) -> bool:
        """The order of both streams."""


Key = TypeVar("Key", bound=Ordered)


@dataclass(frozen=True, slots=True)
class Drift(Generic[Key]):
    """One record that differs."""

    key: Key
    kind: DriftKind


def diff_sorted(
    expected: Iterable[tuple[Key, bytes]], found: Iterable[tuple[Key, bytes]]
) -> Iterator[Drift[Key]]:
    """Every difference between two streams of (key, digest), both strictly ascending by key.

    Reads both once and holds one record of each. Equal streams give nothing.
    """
    left, right = iter(expected), iter(found)
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield Drift(one[0], DriftKind.MISSING)
            one = next(left, None)
        elif one is None or other[0] < one[0]:
            yield Drift(other[0], DriftKind.EXTRA)
            other = next(right, None)
        else:
            if one[1] != other[1]:
                yield Drift(one[0], DriftKind.MISMATCHED)
            one, other = next(left, None), next(right, None)


def diff_contents(
    expected: Mapping[VectorId, bytes], found: Mapping[VectorId, bytes | None]
) -> dict[VectorId, DriftKind]:
    """What differs among records that are all listed as present.

    `found` holds a digest, or None for what came back in a form nobody can read; a key that is
    not in `found` was listed and not given out. Both are unreadable, which is not a mismatch.
    """
    drift: dict[VectorId, DriftKind] = {}
    for key, digest in expected.items():
        seen = found.get(key)
        if seen is None:
            drift[key] = DriftKind.UNREADABLE
        elif seen != digest:
            drift[key] = DriftKind.MISMATCHED
    return drift
