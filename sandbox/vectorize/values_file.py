"""The values of one vector index: float32 rows in a flat file, addressed by position."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FLOAT32 = np.dtype("<f4")
_ROWS_PER_READ = 512  # 3 MB at 1536 dimensions: memory stays flat whatever the index holds


class ValuesFile:
    """Rows of float32. Rows are only appended; the database names those that are in use.

    A row of an upload that was refused or interrupted is not named, and a later
    upload may overwrite it.
    """

    def __init__(self, path: Path, dimensions: int) -> None:
        self._row_bytes = dimensions * FLOAT32.itemsize
        self.dimensions = dimensions
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def write(self, position: int, rows: NDArray[np.float32]) -> None:
        """Write rows, shape (n, dimensions), from a position on."""
        rest = np.ascontiguousarray(rows, FLOAT32).data.cast("B")
        offset = position * self._row_bytes
        while rest:
            written = os.pwrite(self._file, rest, offset)
            offset += written
            rest = rest[written:]

    def read(self, position: int) -> NDArray[np.float32]:
        """The row at a position."""
        data = os.pread(self._file, self._row_bytes, position * self._row_bytes)
        return np.frombuffer(data, FLOAT32)

    def read_blocks(
        self, positions: NDArray[np.int64]
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """The rows at ascending positions, block by block, with their places in `positions`.

        Neighbouring rows are read together, gaps of unwanted rows included where they are small.
        A block is only good until the next one.
        """
        buffer = np.empty((_ROWS_PER_READ, self.dimensions), FLOAT32)
        start = 0
        while start < len(positions):
            first = int(positions[start])
            end = int(np.searchsorted(positions, first + _ROWS_PER_READ))
            wanted = positions[start:end] - first
            block = buffer[: int(wanted[-1]) + 1]
            os.preadv(self._file, [block.data.cast("B")], first * self._row_bytes)
            yield slice(start, end), block if len(wanted) == len(block) else block[wanted]
            start = end

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)


def widened(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Values as the service writes them: float32 printed as double, 58.8 as 58.79999923706055."""
    return values.astype(np.float64)


def as_float32(values: Sequence[float] | NDArray[np.float32]) -> NDArray[np.float32]:
    """The numbers as a float32 row of the file."""
    with np.errstate(over="ignore"):
        return np.asarray(values, FLOAT32)
