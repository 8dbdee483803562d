"""The texts that each writer is given, with what loaders leave in metadata."""

from typing import Any

POINTS, FILES = 24, 3
BOOK = "Flights are booked by the travel desk, hotels by yourself. " * 3


def text_of(number: int) -> str:
    return f"Chunk {number} of the handbook."


def metadata_of(number: int) -> dict[str, Any]:
    """What loaders leave there: null, lists of numbers, nested objects, large integers."""
    return {
        "source": f"handbook/{number % FILES}.md",
        "start_index": 800 * (number // FILES),
        "page": None,
        "bbox": [number, 1.5],
        "loc": {"lines": {"from": number, "to": number + 1}},
        "snowflake": 2**60 + number,
    }
