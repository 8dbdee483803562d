"""The text of float32 values: the shortest one, but for the one value that it does not bring back.

A reader takes the text for a double and rounds that to float32. Over all 2^32 bit patterns this
gives back the same bits with one exception, and its negative: the double of its shortest text lies
in the middle between it and its neighbour, and the middle is rounded to the even one
(`.venv/bin/python -m tests.migrate.model.every_float32` tries them all). With 16 digits it comes
back.
"""

import numpy as np
import numpy.typing as npt
import orjson

from migrate.model.records import Float32Matrix

TWICE_ROUNDED = np.uint32(0x15AE43FD)  # the bits of the one value, without its sign
NEIGHBOUR = np.uint32(0x15AE43FE)  # what its shortest text is read as
SIGN = np.uint32(0x80000000)
_SIZE = np.uint32(0x7FFFFFFF)
_SHORTEST, _EXACT = b"7.038531e-26", b"7.038530691851209e-26"
_SHORTEST_READ = float(_SHORTEST)


def has_twice_rounded(values: Float32Matrix) -> bool:
    """Whether the one value or its negative is among contiguous values of any shape."""
    return bool(((values.view(np.uint32) & _SIZE) == TWICE_ROUNDED).any())


def encode_exactly(values: Float32Matrix) -> bytes:
    """The values of one vector as a JSON list that every reader brings back bit by bit."""
    text = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
    # No other float32 has a shortest text that ends in this one: a digit stands before the point.
    return text.replace(_SHORTEST, _EXACT)


def read_float32(doubles: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Doubles read from text as float32; the shortest text stands for one value.

    What is beyond float32 becomes infinity.
    """
    with np.errstate(over="ignore"):
        values = doubles.astype(np.float32)
    bits = values.view(np.uint32)
    found = (bits & _SIZE) == NEIGHBOUR
    if found.any():
        # The neighbour's own texts are other doubles: no float32 lies in the middle of two.
        bits[found & (np.abs(doubles) == _SHORTEST_READ)] -= np.uint32(1)
    return values
