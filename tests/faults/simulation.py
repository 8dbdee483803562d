"""Live whole cutovers and whole evenings in virtual time, their troubles drawn from a seed.

`.venv/bin/python -m tests.faults.simulation --seeds 20000` searches; `--kind evening --seed N`
replays one.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import click

from tests.faults.simulated.cutover import CutoverSimulation
from tests.faults.simulated.evening import EveningSimulation
from tests.faults.simulated.lives import Outcome, Simulation

KINDS: dict[str, type[Simulation]] = {"cutover": CutoverSimulation, "evening": EveningSimulation}


def run_seed(simulation: type[Simulation], seed: int) -> Outcome:
    """One seed in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return simulation(seed).run(Path(folder))


def run_seeds(simulation: type[Simulation], seeds: Iterable[int]) -> bool:
    """Print what the seeds went through and the ones that failed; True when none failed."""
    failed = 0
    total = Outcome(0)
    for seed in seeds:
        try:
            outcome = run_seed(simulation, seed)
        except AssertionError as error:
            failed += 1
            click.echo(error)
            continue
        total.troubles += outcome.troubles
        total.lives += outcome.lives
        total.strikes += outcome.strikes
        total.exits += outcome.exits
        total.hours += outcome.hours
    click.echo(
        f"{total.lives} lives, {total.hours:.0f} virtual hours, {total.troubles} network troubles, "
        f"strikes {dict(total.strikes)}, exit codes {dict(total.exits)}; {failed} seeds failed"
    )
    return not failed


@click.command()
@click.option("--kind", type=click.Choice(list(KINDS)), multiple=True, help="Only this kind.")
@click.option("--seeds", type=int, default=200, show_default=True, help="How many of each kind.")
@click.option("--first", type=int, default=0, show_default=True, help="The first of them.")
@click.option("--seed", type=int, help="Only this one.")
def main(kind: tuple[str, ...], seeds: int, first: int, seed: int | None) -> None:
    """Run seeds; print what they went through and the ones that failed."""
    some = range(first, first + seeds) if seed is None else [seed]
    failed = False
    for one in kind or KINDS:
        click.echo(f"{one}:")
        failed |= not run_seeds(KINDS[one], some)
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
