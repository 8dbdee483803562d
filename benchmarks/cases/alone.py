"""Measure one case alone, from the command line."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.measure import HEAD, Line


def print_lines(
    description: str | None, size: str, lines: Callable[[Path], Iterable[Line]]
) -> None:
    """Print the lines of a case. `size`: of what it writes into the folder that is named."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path, help=f"for the snapshots: {size}")
    choice = parser.parse_args()
    choice.folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"{HEAD}\n")
    for line in lines(choice.folder):
        sys.stdout.write(f"{line}\n")
