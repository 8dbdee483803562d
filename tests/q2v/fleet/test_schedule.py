"""Which step is due, what keeps the others, and the exit code of all: from the journal alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from q2v.fleet.model import Fleet, HeldRun, Move, Stage, Step
from q2v.fleet.schedule import Phase, exit_code, standings
from q2v.fleet.state import PLAN_ORDER, RETRY, FleetState, apply, fold_fleet
from q2v.fleet.windows import Once
from q2v.settings import Settings
from q2v.settings.sections import TargetSettings

pytestmark = pytest.mark.fault("E07")

NOW_S = 1_000.0


def move(name: str, *, after: tuple[str, ...] = (), tries: int = 3, **more: object) -> Move:
    found = Move(
        name=name,
        config=Path(f"{name}.toml"),
        config_sha256=f"sha256 of {name}",
        settings_sha256=f"settings of {name}",
        settings=Settings(),
        directory=Path(name),
        steps=(Step(("snapshot",)), Step(("migrate",))),
        tries=tries,
        after=after,
        window=None,
    )
    return replace(found, **more)  # type: ignore[arg-type]


def fleet(*moves: Move) -> Fleet:
    return Fleet(
        path=Path("fleet.toml"),
        directory=Path("fleet"),
        at_once=2,
        pause_s=60,
        moves=moves,
        budgets={},
    )


def begun(name: str, step: str) -> dict[str, object]:
    return {
        "type": "begun", "move": name, "step": step, "at_s": NOW_S - 20,
        "config_sha256": f"sha256 of {name}", "log": "a.log", "document": "a.json",
    }  # fmt: skip


def ended(name: str, step: str, code: int, *, counts: bool = True) -> list[dict[str, object]]:
    end: dict[str, object] = {
        "type": "ended", "move": name, "step": step, "at_s": NOW_S - 10, "code": code,
        "counts": counts,
    }  # fmt: skip
    return [begun(name, step), end]


def started(order: str = "", *, is_new: bool = False) -> dict[str, object]:
    return {"type": "started", "order": order, "is_new": is_new, "at_s": NOW_S}


def state(*entries: dict[str, object] | list[dict[str, object]]) -> FleetState:
    found: list[dict[str, object]] = [{"type": "opened", "format": 1}, started()]
    for entry in entries:
        found += entry if isinstance(entry, list) else [entry]
    return fold_fleet(found)


def phases(of: Fleet, known: FleetState, now_s: float = NOW_S) -> list[Phase]:
    return [one.phase for one in standings(of, known, now_s).values()]


def test_the_steps_of_a_move_follow_each_other_and_0_is_not_done_again() -> None:
    one, known = fleet(move("docs")), state()
    for step in ("snapshot", "migrate"):
        found = standings(one, known, NOW_S)["docs"]
        assert (found.phase, found.step) == (Phase.READY, Step((step,)))
        apply(known, begun("docs", step))
        assert phases(one, known) == [Phase.RUNNING]
        apply(known, ended("docs", step, 0)[1])
    assert phases(one, known) == [Phase.DONE]
    assert exit_code(one, known, standings(one, known, NOW_S)) == 0


@pytest.mark.parametrize("code", [code for code in ExitCode if code])
def test_an_exit_code_leads_to_another_try_or_stops_this_move_alone(code: ExitCode) -> None:
    two = fleet(move("docs"), move("wiki"))
    known = state(ended("docs", "snapshot", code))

    expected = Phase.PAUSED if code in RETRY else Phase.STOPPED
    assert phases(two, known) == [expected, Phase.READY]
    assert phases(two, known, NOW_S + 100)[0] is (Phase.READY if code in RETRY else Phase.STOPPED)
    assert code in RETRY or exit_code(two, known, standings(two, known, NOW_S)) == code


def test_a_command_that_a_signal_has_killed_is_tried_again() -> None:
    assert phases(fleet(move("docs")), state(ended("docs", "snapshot", 128 + 9))) == [Phase.PAUSED]


def test_tries_are_used_up_and_each_start_has_them_again() -> None:
    one = fleet(move("docs", tries=2))
    known = state(ended("docs", "snapshot", 7), ended("docs", "snapshot", 7))
    assert phases(one, known) == [Phase.TRIED]
    assert exit_code(one, known, standings(one, known, NOW_S)) == 7

    apply(known, started())
    assert phases(one, known) == [Phase.READY]


def test_what_the_window_or_the_end_of_the_fleet_has_stopped_is_no_try() -> None:
    one = fleet(move("docs", tries=1))
    assert phases(one, state(ended("docs", "snapshot", 8, counts=False))) == [Phase.READY]


def test_a_step_that_was_running_when_the_fleet_was_killed_is_begun_again() -> None:
    known = state(begun("docs", "snapshot"))
    assert phases(fleet(move("docs")), known) == [Phase.RUNNING]
    apply(known, started())
    assert phases(fleet(move("docs")), known) == [Phase.READY]


def test_a_move_waits_for_those_before_it_and_is_not_begun_when_they_stop() -> None:
    three = fleet(move("docs"), move("wiki", after=("docs",)), move("blog", after=("wiki",)))
    assert phases(three, state()) == [Phase.READY, Phase.WAITING, Phase.WAITING]
    known = state(ended("docs", "snapshot", 5))
    assert phases(three, known) == [Phase.STOPPED, Phase.NOT_BEGUN, Phase.NOT_BEGUN]
    why = standings(three, known, NOW_S)["blog"].why
    assert why == "because of wiki: because of docs: snapshot ended with 5"
    done = state(ended("docs", "snapshot", 0), ended("docs", "migrate", 0))
    assert phases(three, done) == [Phase.DONE, Phase.READY, Phase.WAITING]


def test_a_changed_settings_file_stops_a_move_that_was_begun_until_it_starts_over() -> None:
    known = state(ended("docs", "snapshot", 0))
    changed = fleet(move("docs", config_sha256="another"), move("wiki", config_sha256="another"))
    assert phases(changed, known) == [Phase.CHANGED, Phase.READY]
    assert exit_code(changed, known, standings(changed, known, NOW_S)) == ExitCode.PRECONDITION

    apply(known, {"type": "again", "move": "docs", "at_s": NOW_S})
    found = standings(changed, known, NOW_S)["docs"]
    assert (found.phase, found.step) == (Phase.READY, Step(("snapshot",)))


def accepted(name: str, settings: str) -> dict[str, object]:
    return {
        "type": "accepted", "move": name, "at_s": NOW_S, "config_sha256": "another",
        "settings_sha256": settings,
    }  # fmt: skip


def test_a_move_continues_with_settings_that_were_accepted_and_repeats_no_step() -> None:
    known = state(ended("docs", "snapshot", 0))
    changed = fleet(move("docs", config_sha256="another", settings_sha256="others"))
    assert phases(changed, known) == [Phase.CHANGED]

    apply(known, accepted("docs", "others"))

    found = standings(changed, known, NOW_S)["docs"]
    assert (found.phase, found.step) == (Phase.READY, Step(("migrate",)))
    later = fleet(move("docs", config_sha256="another", settings_sha256="once more"))
    assert phases(later, known) == [Phase.CHANGED]


def test_bytes_that_set_nothing_change_nothing() -> None:
    noted = {"settings_sha256": "settings of docs"}
    known = state(begun("docs", "snapshot") | noted, ended("docs", "snapshot", 0)[1])
    commented = fleet(move("docs", config_sha256="with a comment"))
    assert phases(commented, known) == [Phase.READY]
    other = fleet(move("docs", settings_sha256="other settings"))
    assert phases(other, known) == [Phase.CHANGED]


def test_what_was_typed_is_due_again_when_other_steps_have_begun_since() -> None:
    """A move that was rolled back and moved again is rolled back again."""
    undo = "rollback --execute"
    words = Step(("rollback", "--execute"))
    known = state(ended("docs", "snapshot", 0), ended("docs", "migrate", 0))
    undone = fleet(move("docs", steps=(words,)), move("wiki", steps=(words,)))
    apply(known, started(undo))
    for entry in [*ended("docs", undo, 0), *ended("wiki", undo, 4)]:
        apply(known, entry)
    assert phases(undone, known) == [Phase.DONE, Phase.STOPPED]

    apply(known, started())
    apply(known, {"type": "again", "move": "docs", "at_s": NOW_S})
    for entry in [*ended("docs", "snapshot", 0), *ended("docs", "migrate", 0)]:
        apply(known, entry)
    apply(known, started(undo))

    assert phases(undone, known) == [Phase.READY, Phase.READY]


def held(stage: Stage, *, created_s: float = NOW_S - 15, conflicts: int = 0) -> HeldRun:
    return HeldRun(stage=stage, created_s=created_s, conflicts=conflicts)


def into(index: str) -> Settings:
    return Settings(target=TargetSettings(vector_index=index))


def test_a_move_that_was_rolled_back_is_neither_done_nor_due() -> None:
    two = fleet(move("docs", settings=into("a")), move("wiki", after=("docs",)))
    known = state(ended("docs", "snapshot", 0), ended("docs", "migrate", 0))
    assert phases(two, known) == [Phase.DONE, Phase.READY]

    known.held["docs"] = {"a": held(Stage.ROLLED_BACK, conflicts=3)}

    assert phases(two, known) == [Phase.ROLLED_BACK, Phase.NOT_BEGUN]
    found = standings(two, known, NOW_S)
    assert found["docs"].why == "what it has written is undone, but for 3 conflicts"
    assert found["wiki"].why.startswith("because of docs: what it has written is undone")
    assert exit_code(two, known, found) == 0

    known.held["docs"] = {"a": held(Stage.STANDS)}
    assert phases(two, known) == [Phase.DONE, Phase.READY]


def test_a_rollback_that_is_not_complete_has_to_be_looked_into() -> None:
    one = fleet(move("docs", settings=into("a")))
    known = state(ended("docs", "snapshot", 0), ended("docs", "migrate", 0))
    known.held["docs"] = {"a": held(Stage.ROLLING_BACK)}

    assert phases(one, known) == [Phase.ROLLING_BACK]
    assert exit_code(one, known, standings(one, known, NOW_S)) == ExitCode.PRECONDITION


def test_only_the_run_of_this_round_is_what_was_rolled_back() -> None:
    """A move that starts over after a rollback has the former run in its folder."""
    one = fleet(move("docs", settings=into("a")))
    known = state(ended("docs", "snapshot", 0))
    known.held["docs"] = {"a": held(Stage.ROLLED_BACK)}
    assert phases(one, known) == [Phase.READY], "its migrate has not begun"

    for entry in ended("docs", "migrate", 143, counts=False):
        apply(known, entry)
    assert phases(one, known) == [Phase.ROLLED_BACK], "half of it was moved, and is undone"
    known.held["docs"] = {"a": held(Stage.ROLLED_BACK, created_s=NOW_S - 900)}
    assert phases(one, known) == [Phase.READY], "its migrate has begun, and made no run"


def test_a_rollback_among_the_steps_is_a_step_as_others() -> None:
    undo = Step(("rollback", "--execute"))
    steps = (Step(("snapshot",)), Step(("migrate",)), undo)
    one = fleet(move("docs", settings=into("a"), steps=steps))
    known = state(*(ended("docs", step.name, 0) for step in steps))
    known.held["docs"] = {"a": held(Stage.ROLLED_BACK)}
    assert phases(one, known) == [Phase.DONE]


def test_the_namespace_of_a_provision_is_known_to_the_later_steps() -> None:
    known = state(begun("docs", "provision"))
    end = ended("docs", "provision", 0)[1] | {"kv_namespace_id": "0a" * 16}
    apply(known, end)
    apply(known, started("reconcile", is_new=True))
    assert known.namespaces == {"docs": "0a" * 16}


def test_a_window_that_is_closed_holds_and_one_that_is_over_ends_a_move() -> None:
    one = fleet(move("docs", window=Once(2_000, 3_000)))
    assert phases(one, state()) == [Phase.CLOSED]
    assert phases(one, state(), 2_500) == [Phase.READY]
    assert phases(one, state(), 3_000) == [Phase.OVER]
    assert exit_code(one, state(), standings(one, state(), 3_000)) == ExitCode.BUDGET


def test_a_code_that_stops_counts_before_one_that_is_tried_again() -> None:
    three = fleet(move("docs", tries=1), move("wiki"), move("blog"))
    known = state(
        ended("docs", "snapshot", 7), ended("wiki", "snapshot", 4), ended("blog", "snapshot", 5)
    )
    assert exit_code(three, known, standings(three, known, NOW_S)) == 4


def test_a_plan_does_not_take_the_place_of_what_is_shown() -> None:
    known = state(ended("docs", "snapshot", 5))
    apply(known, started(PLAN_ORDER, is_new=True))
    assert (known.order, known.shown) == (PLAN_ORDER, "")


def test_other_steps_are_a_round_of_their_own() -> None:
    known = state(ended("docs", "snapshot", 0), ended("docs", "migrate", 0))
    again = fleet(replace(move("docs"), steps=(Step(("reconcile",)),)))
    apply(known, started("reconcile", is_new=True))
    assert phases(again, known) == [Phase.READY]
    for entry in ended("docs", "reconcile", 0):
        apply(known, entry)
    assert phases(again, known) == [Phase.DONE]
    apply(known, started())
    assert phases(fleet(move("docs")), known) == [Phase.DONE]
    apply(known, started("reconcile", is_new=True))
    assert phases(again, known) == [Phase.READY]
