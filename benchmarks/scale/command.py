"""`python -m benchmarks.scale`: the tables of docs/scale.md, and the simulation beside them."""

import sys
from itertools import chain
from pathlib import Path

import click

from benchmarks.scale.simulated import HEAD, rows, simulated
from benchmarks.scale.tables import SIMULATED, TABLES, fill, filled

PAGE = Path("docs") / "scale.md"


@click.command()
@click.option("--write", is_flag=True, help=f"Put the tables into {PAGE}.")
@click.option("--tables", is_flag=True, help="The arithmetic alone, without the simulation.")
def main(*, write: bool, tables: bool) -> None:
    """Print the arithmetic of 1, 10, 100 and 1,000 million points, then simulate it (minutes)."""
    if write:
        page = filled(PAGE.read_text(encoding="utf-8"))
        if not tables:
            page = fill(page, SIMULATED, simulated())
        PAGE.write_text(page, encoding="utf-8")
        return
    for name, table in TABLES.items():
        sys.stdout.write(f"{name}\n\n{table()}\n\n")
    if tables:
        return
    for cells in chain([HEAD], rows()):
        sys.stdout.write(f"| {' | '.join(cells)} |\n")
        sys.stdout.flush()
