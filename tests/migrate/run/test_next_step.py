"""The next step: every position has one, and no circle of commands ends with exit code 0."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import pytest

from migrate.run.next_step import (
    REPAIRED,
    Finding,
    Position,
    Reached,
    Sealing,
    Situation,
    choose_index,
    next_step,
    read_finding,
)

STEPS_MAX = 12
FINDINGS = (
    None,
    *(
        Finding(
            verdict=verdict,
            source_moved=moved,
            repairable=repairable,
            filters_need_full=full,
            shared=shared,
        )
        for verdict in ("equal", "drift", "indeterminate")
        for moved, repairable, full, shared in product((False, True), repeat=4)
    ),
)


def positions() -> Iterator[Position]:
    """Every position there is; what says nothing about a run of this kind is at its default."""
    flags = [False, True]
    for newest, superseded, unwaived in product(Sealing, flags, flags):
        for provisioned in (None, False, True):
            for configured in flags:
                yield Position(newest=newest, provisioned=provisioned, configured=configured)
        common = Position(newest=newest, superseded=superseded, unwaived=unwaived)
        yield replace(common, run=Reached.BEGUN)
        yield replace(common, run=Reached.ROLLING_BACK)
        for conflicts in flags:
            yield replace(common, run=Reached.ROLLED_BACK, conflicts=conflicts)
        yield replace(common, run=Reached.COMPLETE, moving=True)
        for begun, finding, added, repaired, go in product(flags, FINDINGS, flags, flags, flags):
            yield replace(
                common,
                run=Reached.COMPLETE,
                reconcile_begun=begun,
                finding=finding,
                index_added=added,
                repaired=repaired,
                go=go,
            )


@dataclass(frozen=True)
class Surroundings:
    """What happens around q2v and does not stop by itself."""

    source_moves: bool = False
    others_add: bool = False  # ids and keys of others lie in the target
    others_overwrite: bool = False  # what the run wrote is changed again and again
    unreadable: bool = False

    def run(self, position: Position, words: tuple[str, ...]) -> tuple[Position, int]:
        """The position after a command, and its exit code."""
        command: Callable[[Position], tuple[Position, int]] = getattr(self, f"_{words[0]}")
        return command(position)

    def _snapshot(self, position: Position) -> tuple[Position, int]:
        if self.source_moves:
            return replace(position, newest=Sealing.BEGUN), 5
        return replace(position, newest=Sealing.SEALED), 0

    def _init(self, position: Position) -> tuple[Position, int]:
        return replace(position, configured=True), 0

    def _provision(self, position: Position) -> tuple[Position, int]:
        return replace(position, provisioned=True), 0

    def _migrate(self, position: Position) -> tuple[Position, int]:
        """A new run, the rest of the one that was begun, a repair, or nothing."""
        code = 3 if position.unwaived else 0
        if position.run is Reached.ROLLING_BACK:
            return position, 5
        if position.run is Reached.BEGUN:
            return replace(position, run=Reached.COMPLETE, finding=None), code
        if position.run is not Reached.COMPLETE or position.newest is Sealing.SEALED:
            fresh = Position(run=Reached.COMPLETE, unwaived=position.unwaived)
            return fresh, code
        finding = position.finding
        if finding is not None and finding.verdict == "drift" and finding.repairable:
            return replace(position, finding=None, repaired=True), code
        return position, code

    def _reconcile(self, position: Position) -> tuple[Position, int]:
        if position.run is not Reached.COMPLETE:
            return position, 5
        found = Finding(
            verdict="drift" if self.source_moves or self.others_add else "equal",
            source_moved=self.source_moves,
        )
        if self.others_overwrite:
            found = replace(found, verdict="drift", repairable=True)
        if self.unreadable:
            found = replace(found, verdict="indeterminate")
        codes = {"equal": 3 if position.unwaived else 0, "drift": 4, "indeterminate": 13}
        compared = replace(position, finding=found, reconcile_begun=False, index_added=False)
        return compared, codes[found.verdict]

    def _rollback(self, position: Position) -> tuple[Position, int]:
        kept = self.others_overwrite
        rolled_back = replace(position, run=Reached.ROLLED_BACK, conflicts=kept)
        return rolled_back, 4 if kept else 0

    def _status(self, position: Position) -> tuple[Position, int]:
        return replace(position, superseded=False), 0


SURROUNDINGS = [Surroundings(*flags) for flags in product((False, True), repeat=4)]


@pytest.mark.slow
@pytest.mark.fault("F11")
@pytest.mark.parametrize("world", SURROUNDINGS, ids=str)
def test_following_the_next_step_goes_in_no_circle(world: Surroundings) -> None:
    """From every position, whatever goes on: a decision, or an exit code that says why not."""
    for start in positions():
        position, seen = start, {start}
        for _ in range(STEPS_MAX):
            situation = next_step(position)
            if situation.decides:
                break
            position, code = world.run(position, situation.words)
            if code not in {0, 3, 4}:  # the command itself says what is wrong
                break
            assert position not in seen, f"{start}: a circle at {situation} in {world}"
            seen.add(position)
        else:
            pytest.fail(f"{start}: no end after {STEPS_MAX} steps in {world}")


@pytest.mark.fault("F11")
def test_a_command_that_is_advised_changes_where_things_stand() -> None:
    """In a world without trouble each advised command succeeds and moves the position."""
    quiet = Surroundings()
    for position in positions():
        situation = next_step(position)
        if not situation.decides:
            after, code = quiet.run(position, situation.words)
            assert code in {0, 3}, (position, situation)
            assert after != position, (position, situation)


@pytest.mark.fault("F11")
@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        (Situation.SNAPSHOT_SEALED, [Situation.SNAPSHOT_SEALED] * 2, "own"),
        (Situation.NO_SNAPSHOT, [Situation.NO_SNAPSHOT, Situation.NOT_PROVISIONED], "c"),
        (Situation.RUN_BEGUN, [Situation.SNAPSHOT_SEALED, Situation.NOT_PROVISIONED], "own"),
        (Situation.WRITTEN, [Situation.WRITTEN, Situation.SNAPSHOT_SEALED], "c"),
        (Situation.WRITTEN, [Situation.GO, Situation.OTHERS], "own"),
        (Situation.MOVING, [Situation.WRITTEN, Situation.MOVING], "own"),
        (Situation.EQUAL, [Situation.GO, Situation.OTHERS], "c"),
        (Situation.EQUAL, [Situation.EQUAL, Situation.EQUAL], "own"),
        (Situation.GO, [Situation.EQUAL, Situation.DRIFT], "c"),
        (Situation.GO, [Situation.GO, Situation.ROLLED_BACK], "c"),
        (Situation.DRIFT, [Situation.SNAPSHOT_SEALED, Situation.ROLLING_BACK], "own"),
        (Situation.ROLLED_BACK, [Situation.GO, Situation.SNAPSHOT_SEALED], "own"),
    ],
)
def test_of_several_indexes_the_one_that_is_less_far_comes_first(
    own: Situation, others: list[Situation], expected: str
) -> None:
    found = dict(zip(("b", "c"), others, strict=True)) | {"own": own}

    assert choose_index(found, "own") == expected


@pytest.mark.fault("F11")
def test_readers_move_when_every_index_is_go() -> None:
    """Of two indexes the decision about the cutover is said only where both are as far."""
    for one, other in product(Situation, Situation):
        chosen = choose_index({"a": one, "b": other}, "a")
        said = {"a": one, "b": other}[chosen]
        if said is Situation.GO:
            assert (one, other) == (Situation.GO, Situation.GO)


@pytest.mark.fault("F11")
def test_every_situation_is_reached_and_says_what_it_means() -> None:
    reached = {next_step(position) for position in positions()}

    assert set(Situation) == reached
    for situation in Situation:
        assert bool(situation.words) != bool(situation.advice), "a command or a decision"
        assert situation.means
        assert situation.text in situation.remedy


@pytest.mark.fault("F11")
@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (Position(), Situation.NO_SNAPSHOT),
        (Position(configured=False), Situation.NOT_CONFIGURED),
        (Position(newest=Sealing.BEGUN), Situation.SNAPSHOT_BEGUN),
        (Position(newest=Sealing.SEALED, configured=False), Situation.SNAPSHOT_SEALED),
        (Position(newest=Sealing.SEALED), Situation.SNAPSHOT_SEALED),
        (Position(newest=Sealing.SEALED, provisioned=False), Situation.NOT_PROVISIONED),
        (Position(run=Reached.BEGUN), Situation.RUN_BEGUN),
        (Position(run=Reached.BEGUN, newest=Sealing.SEALED), Situation.RUN_BEGUN),
        (Position(run=Reached.COMPLETE), Situation.WRITTEN),
        (Position(run=Reached.COMPLETE, unwaived=True), Situation.LEFT_OUT),
        (Position(run=Reached.COMPLETE, repaired=True), Situation.WRITTEN),
        (Position(run=Reached.COMPLETE, reconcile_begun=True), Situation.RECONCILE_BEGUN),
        (Position(run=Reached.COMPLETE, newest=Sealing.SEALED), Situation.SNAPSHOT_SEALED),
        (Position(run=Reached.ROLLING_BACK, superseded=True), Situation.ROLLING_BACK),
        (Position(run=Reached.ROLLED_BACK), Situation.ROLLED_BACK),
        (Position(run=Reached.ROLLED_BACK, conflicts=True), Situation.CONFLICTS),
        (Position(run=Reached.COMPLETE, superseded=True), Situation.SUPERSEDED),
        (Position(run=Reached.COMPLETE, moving=True), Situation.MOVING),
        (Position(run=Reached.ROLLED_BACK, moving=True), Situation.ROLLED_BACK),
    ],
)
def test_examples(position: Position, expected: Situation) -> None:
    assert expected is next_step(position)


@pytest.mark.fault("F11")
@pytest.mark.parametrize(
    ("drift", "source", "expected"),
    [
        ({}, {}, Situation.OTHERS),
        ({"extra": 2}, None, Situation.OTHERS),
        ({"kv_extra": 1, "unheard_of": 3}, {"added": 0}, Situation.OTHERS),
        *(({name: 1, "extra": 4}, {"added": 0}, Situation.DRIFT) for name in REPAIRED),
        ({}, {"added": 0, "changed": 1, "deleted": 0}, Situation.SOURCE_MOVED),
        ({"missing": 1}, {"deleted": 1}, Situation.SOURCE_MOVED),
    ],
)
def test_what_a_report_says_decides(
    drift: dict[str, int], source: dict[str, int] | None, expected: Situation
) -> None:
    finding = read_finding({"verdict": "drift", "drift": drift, "source_drift": source})

    assert expected is next_step(Position(run=Reached.COMPLETE, finding=finding))


@pytest.mark.fault("F11")
def test_a_repair_that_did_not_last_is_not_repeated_for_ever() -> None:
    found = Finding(verdict="drift", repairable=True)

    situation = next_step(Position(run=Reached.COMPLETE, finding=found, repaired=True))

    assert situation is Situation.DRIFT_AGAIN
