"""Fifty kills: `kill -9` at random moments of real processes, and nothing of it is seen at the end.

A sealed snapshot is moved by real `q2v migrate` processes into a real `q2v sandbox`, which holds
somebody's content already. Each process is killed. A life is a run from its plan to the end of
its rollback: the kills of a life go through the phases in order, some phases more than once, and
one life in three is rolled back before it was completed. Rollbacks are killed as well.

How a moment is drawn: first its phase, from the list of the life; then how many more requests the
sandbox answers in that phase before the kill; then a delay. All three come from the seed. So the
kills land in every phase, however short it is, and do not spend themselves on the half second in
which a process starts. A process that ends by itself before its moment is not a kill.

After each kill the journal has to begin as it did at the kill before, and nothing that it says is
acknowledged may reach the sandbox again. The budget of requests is out of the way: a rollback of
20,000 vectors needs more than five minutes may hold.

    .venv/bin/python -m tests.e2e.interrupted.kills --kills 50 --points 20000 --seed 1 \
        --profile instant
"""

import random
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from migrate.clock import SystemClock
from sandbox.profile import PROFILES
from tests.e2e.interrupted.ledger import Ledger
from tests.e2e.interrupted.watch import Phase, Watch
from tests.harness.journal_files import (
    JOURNAL,
    Entry,
    decode_entries,
    newest_journal,
    newest_run,
)
from tests.harness.running.site import UPLOAD_VECTORS, Site, build_site, was_killed
from tests.harness.running.target_reader import TargetContent, count_mutations
from tests.harness.running.workspace import ending

WORDS = {
    "migrate": ("migrate", "--yes", "--into-non-empty"),
    "rollback": ("rollback", "--yes", "--execute"),
}
SEED_OF_FIFTY = 1
POINTS_MAX = 100_000  # the KV index of more is written in several requests
REPLAY = (
    ".venv/bin/python -m tests.e2e.interrupted.kills --kills {} --points {} --seed {} --profile {}"
)

ANY_NUMBER = 2**31
LOOK_S = 0.002  # between two looks at a process
# Further requests in the phase, and a delay in seconds: up to so much of each before a kill.
MOMENTS = {
    Phase.STARTING: (0, 0.5),
    Phase.PLANNING: (0, 0.8),
    Phase.PRE_IMAGES: (3, 0.4),
    Phase.UPLOADS: (30, 0.02),
    Phase.SETTLING: (3, 0.2),
    Phase.KV_INDEX: (0, 0.5),
    Phase.COUNTER: (0, 0.01),
    Phase.ROLLBACK_STARTING: (0, 0.5),
    Phase.LATER_WRITES: (20, 0.05),
    Phase.UNDOING_KV: (20, 0.02),
    Phase.UNDOING_VECTORS: (700, 0.02),
    Phase.UNDO_SETTLING: (3, 0.2),
}
# How often a phase is struck in one life: one of these numbers.
TIMES = {
    Phase.STARTING: (0, 0, 1),
    Phase.PLANNING: (0, 1),
    Phase.PRE_IMAGES: (1, 2),
    Phase.UPLOADS: (2, 3, 4),
    Phase.SETTLING: (1, 2),
    Phase.KV_INDEX: (1, 2),
    Phase.COUNTER: (1,),
    Phase.ROLLBACK_STARTING: (0, 0, 1),
    Phase.LATER_WRITES: (0, 1),
    Phase.UNDOING_KV: (1,),
    Phase.UNDOING_VECTORS: (1, 2),
    Phase.UNDO_SETTLING: (0, 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When to kill: in this phase, after so many more requests of it, after so long."""

    phase: Phase
    requests: int
    delay_s: float


@dataclass(slots=True)
class KillsReport:
    """What was done; everything that had to hold has held."""

    points: int
    phases: Counter[Phase] = field(default_factory=Counter)  # where the kills struck
    rollbacks: int = 0  # that were brought to their end
    uploads: int = 0  # received by the sandbox
    repeats: int = 0  # of those: in doubt after a kill, so sent again
    acknowledged: int = 0  # uploads, and none of them was sent again
    mutations: int = 0  # taken by the target in all
    records: int = 0  # vectors and entries at the end
    seconds: float = 0.0

    @property
    def kills(self) -> int:
        """Kills that struck a living process."""
        return self.phases.total()

    def of(self, command: str) -> int:
        """Kills that struck this command."""
        return sum(count for phase, count in self.phases.items() if phase.command == command)

    def summary(self) -> str:
        """One line."""
        return (
            f"kill -9: {self.kills} of real processes over {self.points:,} points ("
            f"{self.of('migrate')} migrate, {self.of('rollback')} rollback), "
            f"{self.rollbacks} rollbacks completed, {self.uploads} uploads arrived, "
            f"{self.repeats} of them repeats of what was in doubt, "
            f"of {self.acknowledged} acknowledged none came again, "
            f"end state byte for byte that of an undisturbed run, {self.seconds:.0f} s"
        )


def draw_lives(seed: int) -> Iterator[list[Moment]]:
    """The kills of one life after the other; the same for the same seed."""
    chance = random.Random(seed)
    while True:
        yield _draw_life(chance)


def _draw_life(chance: random.Random) -> list[Moment]:
    """In the order of the phases."""
    broken_off = chance.random() < 1 / 3
    moments = []
    for phase, times in TIMES.items():
        if broken_off and Phase.UPLOADS < phase <= Phase.ENDING:
            continue
        requests_max, delay_s_max = MOMENTS[phase]
        moments += [
            Moment(
                phase=phase,
                requests=chance.randint(0, requests_max),
                delay_s=chance.uniform(0, delay_s_max),
            )
            for _ in range(chance.choice(times))
        ]
    return moments


class Killing:
    """Lives through kills at one site, and checks after each what has to hold at once."""

    def __init__(self, site: Site, report: KillsReport) -> None:
        self._site = site
        self._report = report
        left_out = PROFILES[site.profile].kv_partial_rate > 0
        self._ledger = Ledger(kv_writes_max=ANY_NUMBER) if left_out else Ledger()
        self._before = site.content()  # what every rollback has to bring back
        self._mutations_before = count_mutations(site.state_folder)
        self._uploads = -(-report.points // UPLOAD_VECTORS)

    def kill(self, times: int, lives: Iterator[list[Moment]]) -> None:
        """Live until so many kills have struck."""
        processes_max = 4 * times
        while self._report.kills < times:
            for moment in next(lives):
                if self._report.kills < times and self._can(moment.phase.command):
                    processes_max -= 1
                    assert processes_max >= 0, f"processes end before they are killed: {moment}"
                    self._strike(moment)
            if self._report.kills < times and self._can("rollback"):
                self._undisturbed("rollback")

    def end(self) -> None:
        """What a patient operator does: finish what was begun, then migrate."""
        if "rollback_opened" in self._types() and self._can("rollback"):
            self._undisturbed("rollback")
        self._undisturbed("migrate")
        self._report.uploads, self._report.repeats = self._ledger.uploads, self._ledger.repeats
        self._report.acknowledged = self._ledger.acknowledged
        self._report.mutations = count_mutations(self._site.state_folder) - self._mutations_before
        writes = ("/upsert", "/delete_by_ids")
        taken = [
            one for one in self._log() if one["path"].endswith(writes) and one["status"] == 200
        ]
        assert len(taken) == self._report.mutations, "the log is not what the target took"

    def _can(self, command: str) -> bool:
        """Whether the command has something left to do."""
        types = self._types()
        if command == "migrate":
            return (
                "rollback_completed" in types or not {"round_completed", "rollback_opened"} & types
            )
        return "round_opened" in types and "rollback_completed" not in types

    def _types(self) -> set[str]:
        return {entry["type"] for entry in decode_entries(newest_journal(self._site.directory))}

    def _log(self) -> list[Entry]:
        return decode_entries(self._site.requests.refreshed())

    def _strike(self, moment: Moment) -> None:
        """One process, killed at that moment unless it has ended before."""
        command = moment.phase.command
        watch = Watch(self._site, command, uploads=self._uploads)
        process = self._site.launch(*WORDS[command])
        with ending(process):
            struck = self._reaches(moment, process, watch) and was_killed(process)
            if struck:
                self._report.phases[watch.phase(process.pid)] += 1
            else:
                self._site.check(process)
        self._look(command, kills=int(struck))

    def _reaches(self, moment: Moment, process: subprocess.Popen[str], watch: Watch) -> bool:
        """Return at the moment; False when the process has ended by itself before."""
        while watch.phase(process.pid) < moment.phase:
            if not self._site.wait(process, LOOK_S):
                return False
        answered = len(watch.requests())
        while watch.phase(process.pid) == moment.phase:
            if len(watch.requests()) - answered >= moment.requests:
                break
            if not self._site.wait(process, LOOK_S):
                return False
        return self._site.wait(process, moment.delay_s)

    def _undisturbed(self, command: str) -> None:
        self._site.run(*WORDS[command])
        self._look(command)

    def _look(self, command: str, *, kills: int = 0) -> None:
        """After a process: the journal and the log; after a whole rollback the target too."""
        run = newest_run(self._site.directory)
        if run is None or not (run / JOURNAL).exists():
            return
        self._ledger.kills[run] += kills
        journal = (run / JOURNAL).read_bytes()
        self._ledger.look(run, journal, self._log(), migrating=command == "migrate")
        if command == "rollback" and "rollback_completed" in self._types():
            changed = self._before.differences(self._site.content())
            assert not changed, f"I7: {run.name}: rolled back, but not as it was: {changed[:9]}"
            self._report.rollbacks += 1


def run(
    folder: Path, *, kills: int, points: int, seed: int, profile: str = "instant"
) -> KillsReport:
    """Build, kill, end. Raises AssertionError, with the words that replay it, unless all holds."""
    clock = SystemClock()
    started = clock.monotonic_s()
    site = build_site(folder / "built", points, profile)
    expected = _undisturbed_end(site.copy(folder / "calm"))
    report = KillsReport(points=points)
    try:
        with site.serving():
            killing = Killing(site, report)
            killing.kill(kills, draw_lives(seed))
            killing.end()
        found = site.content()
        assert not expected.differences(found), f"I5: {expected.differences(found)[:9]}"
        assert expected.encode() == found.encode()
    except AssertionError as error:
        raise AssertionError(f"{error}\n  {REPLAY.format(kills, points, seed, profile)}") from error
    report.records, report.seconds = len(found.records), clock.monotonic_s() - started
    return report


def _undisturbed_end(calm: Site) -> TargetContent:
    with calm.serving():
        calm.run(*WORDS["migrate"])
    return calm.content()


@click.command()
@click.option("--kills", type=click.IntRange(1), default=50, show_default=True)
@click.option("--points", type=click.IntRange(1_000, POINTS_MAX), default=20_000, show_default=True)
@click.option("--seed", type=int, default=SEED_OF_FIFTY, show_default=True)
@click.option(
    "--profile", type=click.Choice(sorted(PROFILES)), default="instant", show_default=True
)
def main(kills: int, points: int, seed: int, profile: str) -> None:
    """Kill, print where it struck, and whether the end is that of an undisturbed run."""
    with tempfile.TemporaryDirectory() as folder:
        report = run(Path(folder), kills=kills, points=points, seed=seed, profile=profile)
    for phase in Phase:
        click.echo(f"{report.phases[phase]:>4} {phase.command}: {phase.words}")
    click.echo(report.summary())


if __name__ == "__main__":
    main()
