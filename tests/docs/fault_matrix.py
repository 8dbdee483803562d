"""The fault matrix, and which tests cover it."""

import re
from pathlib import Path

MATRIX = Path(__file__).parents[2] / "docs" / "fault-matrix.md"
_ROW = re.compile(r"^\| ([A-Z]\d{1,2}) \|", re.MULTILINE)


def read_rows() -> frozenset[str]:
    """The ids of all rows. Raises ValueError for one that is there twice."""
    rows = _ROW.findall(MATRIX.read_text(encoding="utf-8"))
    if len(rows) != len(set(rows)):
        raise ValueError(f"{MATRIX}: an id occurs twice")
    return frozenset(rows)
