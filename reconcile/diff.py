"""Compare two streams of digests and yield every difference. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from migrate.model.records import VectorId


class DriftKind(StrEnum):
    """The four kinds of difference, with the symbols of `rclone check`."""

    MISSING = "missing"  # expected, not there
    EXTRA = "extra"  # there, not expected
    MISMATCHED = "mismatched"  # there, with different content
    UNREADABLE = "unreadable"  # there, but its content could not be read

    @property
    def symbol(self) -> str:
        """`+ - * !` as in rclone's combined report."""
        return {"missing": "+", "extra": "-", "mismatched": "*", "unreadable": "!"}[self.value]


class Ordered(Protocol):
    """A key that has an order."""

    def __lt__(self, other: Any, /) -> bool:
        """Whether this key comes before the other one in a stream."""


Key = TypeVar("Key", bound=Ordered)


@dataclass(frozen=True, slots=True)
class Drift(Generic[Key]):
    """One record that differs."""

    key: Key
    kind: DriftKind


def diff_sorted(
    expected: Iterable[tuple[Key, bytes]], found: Iterable[tuple[Key, bytes]]
) -> Iterator[Drift[Key]]:
    """Yield every difference between two streams of (key, digest), in key order.

    Both streams must be strictly ascending by key. Each is read once, and one record of each is
    held in memory. Equal streams yield nothing.
    """
    left, right = iter(expected), iter(found)
    wanted, seen = next(left, None), next(right, None)
    while wanted is not None or seen is not None:
        if seen is None or (wanted is not None and wanted[0] < seen[0]):
            assert wanted is not None
            yield Drift(wanted[0], DriftKind.MISSING)
            wanted = next(left, None)
        elif wanted is None or seen[0] < wanted[0]:
            yield Drift(seen[0], DriftKind.EXTRA)
            seen = next(right, None)
        else:
            if wanted[1] != seen[1]:
                yield Drift(wanted[0], DriftKind.MISMATCHED)
            wanted, seen = next(left, None), next(right, None)


def diff_contents(
    expected: Mapping[VectorId, bytes], found: Mapping[VectorId, bytes | None]
) -> dict[VectorId, DriftKind]:
    """Vector id -> kind of difference, for vectors that the target lists; empty if all are equal.

    `found` holds a digest, or None for a vector that came back in an unreadable form. A listed id
    that `found` lacks was not returned by the read. Both are UNREADABLE, not MISMATCHED.
    """
    drift: dict[VectorId, DriftKind] = {}
    for key, digest in expected.items():
        seen = found.get(key)
        if seen is None:
            drift[key] = DriftKind.UNREADABLE
        elif seen != digest:
            drift[key] = DriftKind.MISMATCHED
    return drift
