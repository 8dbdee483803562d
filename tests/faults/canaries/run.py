"""Do the tests test? Plant one bug at a time in a copy of the project; a named test has to fail.

`.venv/bin/python -m tests.faults.canaries` runs all of them (about two minutes), `--only NAME` one,
`--list` prints the table. The working tree is only ever read.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from tests.faults.canaries.canary import Canary
from tests.faults.canaries.planted.after import OF_THE_END, OF_THE_GATE, OF_THE_MONITOR
from tests.faults.canaries.planted.answers import OF_THE_ANSWERS
from tests.faults.canaries.planted.archive import OF_THE_ARCHIVE
from tests.faults.canaries.planted.comparison import OF_COMPARISON
from tests.faults.canaries.planted.further import FURTHER
from tests.faults.canaries.planted.metadata import OF_THE_METADATA
from tests.faults.canaries.planted.named import NAMED
from tests.faults.canaries.planted.provision import OF_PROVISIONING
from tests.faults.canaries.planted.reading import OF_THE_READING
from tests.faults.canaries.planted.source import OF_THE_SOURCE
from tests.faults.canaries.planted.stores import OF_THE_STORES
from tests.faults.canaries.planted.verifier import OF_THE_VERIFIER
from tests.harness.running.programs import run_python

CANARIES = (
    *NAMED,
    *FURTHER,
    *OF_COMPARISON,
    *OF_THE_ANSWERS,
    *OF_THE_SOURCE,
    *OF_THE_READING,
    *OF_THE_METADATA,
    *OF_THE_STORES,
    *OF_THE_ARCHIVE,
    *OF_THE_GATE,
    *OF_THE_MONITOR,
    *OF_THE_END,
    *OF_PROVISIONING,
    *OF_THE_VERIFIER,
)
ROOT = Path(__file__).parents[3]
TREE = ("migrate", "reconcile", "q2v", "rehearsal", "sandbox", "tests", "docs", "pyproject.toml")
TIMEOUT_S = 900  # of one pytest; the slowest named test takes ten seconds on an idle machine
OUTPUT_LINES = 15  # of a pytest that ended as it should not


class UnplantableError(Exception):
    """The canary cannot be judged: its text or its test is not what the table says."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one planted bug."""

    caught: bool
    detail: str  # how the named test failed, or what happened in its stead


class Copy:
    """A copy of the project in which bugs may be planted."""

    def __init__(self, folder: Path) -> None:
        for name in TREE:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, folder / name, ignore=ignored)
            else:
                shutil.copyfile(source, folder / name)
        self._folder = folder

    @contextmanager
    def planted(self, canary: Canary) -> Iterator[None]:
        """The bug is in the copy while the block runs. Raises UnplantableError."""
        path = self._folder / canary.file
        whole = path.read_text(encoding="utf-8")
        found = canary.occurrences(whole)
        if found != 1:
            raise UnplantableError(f"{canary.file} holds the text to replace {found} times, not 1")
        path.write_text(canary.plant(whole), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(whole, encoding="utf-8")

    def check_healthy(self, tests: Sequence[str]) -> None:
        """All of these tests pass as things are. Raises UnplantableError."""
        done = self._pytest(*dict.fromkeys(tests))
        if done.returncode != pytest.ExitCode.OK:
            raise UnplantableError(f"without any bug the named tests do not pass:\n{_end(done)}")

    def judge(self, canary: Canary) -> Finding:
        """Plant, run the named test, take the bug out again. Raises UnplantableError."""
        with self.planted(canary):
            done = self._pytest("-x", canary.test)
        if done.returncode == pytest.ExitCode.OK:
            return Finding(caught=False, detail=f"{canary.test} passes")
        # A failed test ends with code 1 and is reported as FAILED. A module that does not import,
        # a fixture that breaks, or a name that is no test tells nothing about the test.
        mark = f"FAILED {canary.test}"
        failed = [line for line in done.stdout.splitlines() if line.startswith(mark)]
        if done.returncode == pytest.ExitCode.TESTS_FAILED and failed:
            return Finding(caught=True, detail=failed[0].removeprefix("FAILED "))
        raise UnplantableError(
            f"{canary.test} did not fail, pytest ended with {done.returncode}:\n{_end(done)}"
        )

    def _pytest(self, *words: str) -> "subprocess.CompletedProcess[str]":
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST_", "PYTHONPATH", "COV_"))
        }
        quiet = ("-q", "-rf", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist")
        try:
            return run_python(
                *("-m", "pytest", *quiet, *words),
                cwd=self._folder,
                # Bytecode of a file before its bug must not be taken for that of the file after.
                env={**inherited, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "500"},
                timeout_s=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise UnplantableError(f"no end after {TIMEOUT_S} s") from error


def _end(done: "subprocess.CompletedProcess[str]") -> str:
    lines = [line for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    return "\n".join(f"    {line}" for line in lines[-OUTPUT_LINES:])


def run(canaries: Sequence[Canary]) -> bool:
    """Judge every canary and print a line for each; True when all were caught."""
    caught = 0
    with tempfile.TemporaryDirectory(prefix="q2v-canary-") as folder:
        copy = Copy(Path(folder))
        try:
            copy.check_healthy([canary.test for canary in canaries])
        except UnplantableError as error:
            click.echo(error)
            return False
        for canary in canaries:
            try:
                finding = copy.judge(canary)
            except UnplantableError as error:
                click.echo(f"UNCLEAR   {canary.name}: {error}")
                continue
            caught += finding.caught
            if finding.caught:
                click.echo(f"caught    {canary.name}: {finding.detail}")
            else:
                click.echo(f"SURVIVED  {canary.name}: {canary.effect}; {finding.detail}")
    click.echo(f"{caught} of {len(canaries)} canaries caught")
    return caught == len(canaries)


def table(canaries: Sequence[Canary]) -> str:
    """The canaries as a Markdown table."""
    rows = [
        f"| {canary.name} | {canary.effect} | `{canary.file}` | `{canary.test.split('::')[1]}` |"
        for canary in canaries
    ]
    head = [
        "| bug | what it would do in production | planted in | caught by |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows])


@click.command()
@click.option(
    "--only",
    type=click.Choice([canary.name for canary in CANARIES]),
    multiple=True,
    help="Only this one; may be repeated.",
)
@click.option("--list", "as_list", is_flag=True, help="Print the table and run nothing.")
def main(only: tuple[str, ...], *, as_list: bool) -> None:
    """Plant every bug in turn; exit code 1 unless each was caught by its test."""
    chosen = [canary for canary in CANARIES if not only or canary.name in only]
    if as_list:
        click.echo(table(chosen))
        return
    raise SystemExit(not run(chosen))
