"""Does the text of every float32 bring its bits back?

Run `.venv/bin/python -m tests.migrate.model.every_float32`. It takes some minutes on one core.
It prints the bits of each value whose shortest text a reader takes for another one, then whether
the text that q2v writes brings back all of them.
"""

import sys

import click
import numpy as np
import orjson

from migrate.model.float_text import encode_exactly, has_twice_rounded

AT_ONCE = 1 << 22
INFINITY = 0x7F800000  # the bits of the first that is no number; the negatives are the same texts


def read_back(text: bytes) -> "np.ndarray[tuple[int], np.dtype[np.uint32]]":
    """What a service makes of a list of numbers: text -> double -> float32, as bits."""
    return np.array(orjson.loads(text), np.float64).astype(np.float32).view(np.uint32)


def main() -> int:
    """Exit 1 when a value does not come back."""
    lost = 0
    for first in range(0, INFINITY, AT_ONCE):
        bits = np.arange(first, min(first + AT_ONCE, INFINITY), dtype=np.uint32)
        values = bits.view(np.float32)
        shortest = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
        for one in bits[read_back(shortest) != bits]:
            click.echo(f"0x{one:08x}: shortest text {values[one - first]!s}")
        if has_twice_rounded(values):
            lost += int((read_back(encode_exactly(values)) != bits).sum())
    click.echo(f"{lost} values are lost in the text that q2v writes")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
