"""A set of rows of a snapshot with a bit for each row: 120 million rows take 15 MB."""

from collections.abc import Iterable, Iterator, Set
from typing import Self

import numpy as np
from typing_extensions import override

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]
_ROWS_AT_ONCE = 1_000_000  # while the set is iterated over


class RowSet(Set[int]):
    """Rows from 0 to a number; never changed. Two equal ones have one hash, so it can be a key."""

    def __init__(self, bits: bytes, points: int) -> None:
        """Row n is bit n % 8, from the lowest on, of byte n // 8."""
        self._bits = bits
        self._points = points

    @classmethod
    def all_but(
        cls, points: int, batches: Iterable[np.ndarray[tuple[int], np.dtype[np.int64]]]
    ) -> Self:
        """Every row below `points` but those of the batches, each of which ascends."""
        bits = np.full(-(-points // 8), 0xFF, np.uint8)
        if points % 8:
            bits[-1] = (1 << points % 8) - 1
        for rows in batches:
            first = int(rows[0]) // 8 * 8
            window = np.zeros(int(rows[-1]) + 1 - first, np.bool_)
            window[rows - first] = True
            packed = np.packbits(window, bitorder="little")
            bits[first // 8 : first // 8 + len(packed)] &= ~packed
        return cls(bits.tobytes(), points)

    def mask(self, first: int, end: int) -> Mask:
        """Which of the rows `first` .. `end` - 1 are in the set."""
        whole = np.frombuffer(self._bits, np.uint8)[first // 8 : -(-end // 8)]
        bits = np.unpackbits(whole, bitorder="little")[first % 8 :][: end - first]
        found: Mask = bits.astype(np.bool_)
        return found

    @override
    def __contains__(self, row: object) -> bool:
        if not isinstance(row, int) or not 0 <= row < self._points:
            return False
        return bool(self._bits[row >> 3] >> (row & 7) & 1)

    @override
    def __iter__(self) -> Iterator[int]:
        for first in range(0, self._points, _ROWS_AT_ONCE):
            mask = self.mask(first, min(first + _ROWS_AT_ONCE, self._points))
            yield from (np.flatnonzero(mask) + first).tolist()

    @override
    def __len__(self) -> int:
        return int.from_bytes(self._bits, "little").bit_count()

    @override
    def __hash__(self) -> int:
        return hash((self._bits, self._points))


def mask_of(rows: Set[int], first: int, end: int) -> Mask:
    """Which of the rows `first` .. `end` - 1 are in a set of any kind."""
    if isinstance(rows, RowSet):
        return rows.mask(first, end)
    mask: Mask = np.zeros(end - first, np.bool_)
    if rows:
        mask[[row - first for row in rows if first <= row < end]] = True
    return mask
