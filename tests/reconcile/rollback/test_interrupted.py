"""A rollback that was killed continues where its journal says, and overlooks nothing behind it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from migrate.model.records import Vector, VectorId
from migrate.run.journal import Kind
from tests.harness.fakes.memory_source import DIMENSIONS, UnexpectedError
from tests.harness.move import Move, all_ids, new_move

POINTS = 130
OURS = all_ids(POINTS)
THEIRS: dict[str, object] = {"whose": "theirs"}


def moved(folder: Path, *, held: tuple[VectorId, ...] = ()) -> Move:
    """A move over these ids, which the index held before."""
    move = new_move(folder, POINTS)
    for name in held:
        move.put(
            Vector(
                id=name,
                values=np.full(DIMENSIONS, 0.5, np.float32),
                namespace=None,
                metadata={"old": True},
            )
        )
    move.plan(into_non_empty=True)
    move.migrate()
    move.calls.made.clear()
    return move


def cut_after_deletes(move: Move, deletes: int) -> Callable[[int, str], None]:
    """Kills the process before the call that follows this number of deletions."""

    def cut(_: int, __: str) -> None:
        if move.calls.made.count("delete") == deletes:
            raise UnexpectedError

    return cut


def interrupted(move: Move, *, deletes: int = 3) -> None:
    """A rollback that ends in the middle; `move.vectors.fetched` holds nothing afterwards."""
    move.calls.before = cut_after_deletes(move, deletes)
    with suppress(UnexpectedError):
        move.roll_back(leave_later_writes=True)
    move.calls.before = lambda *_: None
    assert 0 < len(move.vectors.stored.keys() & set(OURS)) < POINTS
    move.vectors.fetched.clear()


def noted_end(move: Move) -> int:
    """The row before which all is undone, by the journal."""
    with move.opened() as run:
        undone = run.state().undone
    return 0 if undone is None else undone.end


@pytest.mark.slow
@pytest.mark.fault("B02", "I7")
def test_what_is_undone_is_not_compared_again(tmp_path: Path) -> None:
    undisturbed = moved(tmp_path / "undisturbed", held=(OURS[2], OURS[99]))
    told = undisturbed.roll_back()
    move = moved(tmp_path / "killed", held=(OURS[2], OURS[99]))
    interrupted(move)
    end = noted_end(move)

    done = move.roll_back()

    assert end >= 40
    in_doubt_or_left = set(OURS[end:])
    evidence = 20  # of the last writes before the kill, and of the last writes of all
    assert len(move.vectors.fetched - in_doubt_or_left) <= evidence
    assert move.held() == undisturbed.held()
    assert (done.vectors_deleted, done.vectors_restored) == (
        told.vectors_deleted,
        told.vectors_restored,
    ), "each vector counts once, whichever attempt has undone it"
    assert (told.undone_before, done.undone_before) == (0, end)
    assert noted_end(move) == 0, "a rollback that is complete is not continued"


@pytest.mark.slow
@pytest.mark.fault("B03", "I7")
def test_a_vector_of_others_is_still_a_conflict_after_the_kill(tmp_path: Path) -> None:
    move = moved(tmp_path)
    theirs = replace(move.vector(OURS[5]), metadata=THEIRS)
    move.put(theirs)
    interrupted(move)
    assert noted_end(move) > 5

    done = move.roll_back()

    assert done.conflicts == [OURS[5]]
    assert move.vectors.stored == {OURS[5]: theirs}
    assert done.vectors_deleted == POINTS - 1
    forced = move.roll_back(forced=frozenset([OURS[5]]))
    assert (forced.conflicts, move.vectors.stored) == ([], {})


@pytest.mark.fault("B03", "I7")
@pytest.mark.parametrize("is_ours", [True, False], ids=["as-the-run-wrote-it", "as-they-like"])
def test_what_was_written_again_after_the_kill_is_found_in_the_listing(
    tmp_path: Path, is_ours: bool
) -> None:
    """The id is behind the place that the journal names, so it is not compared on the way."""
    move = moved(tmp_path)
    ours = move.vector(OURS[0])
    interrupted(move)
    again = ours if is_ours else replace(ours, metadata=THEIRS)
    move.put(again)

    done = move.roll_back()

    assert done.conflicts == ([] if is_ours else [OURS[0]])
    assert move.vectors.stored == ({} if is_ours else {OURS[0]: again})


@pytest.mark.slow
@pytest.mark.fault("B02")
def test_a_kill_after_the_last_deletion_leaves_the_listing_to_be_checked(tmp_path: Path) -> None:
    """Nothing is left to be written; what the index still shows is found all the same."""
    move = moved(tmp_path)
    ours = move.vector(OURS[0])

    def cut(_: int, what: str) -> None:
        if what == "list" and noted_end(move) and not move.vectors.stored:
            raise UnexpectedError

    move.calls.before = cut
    with pytest.raises(UnexpectedError):
        move.roll_back()
    move.calls.before = lambda *_: None
    move.put(ours)

    move.roll_back()

    assert move.vectors.stored == {}


@pytest.mark.slow
@pytest.mark.fault("B02")
def test_a_rollback_may_be_interrupted_again_and_again(tmp_path: Path) -> None:
    move = moved(tmp_path / "killed", held=(OURS[2],))
    undisturbed = moved(tmp_path / "undisturbed", held=(OURS[2],))
    expected = undisturbed.roll_back()
    end = attempts = 0
    done = None
    while done is None:
        move.calls.made.clear()
        move.calls.before = cut_after_deletes(move, 1)
        with suppress(UnexpectedError):
            done = move.roll_back()
        attempts += 1
        assert done is not None or noted_end(move) > end, "each attempt gets further"
        end = noted_end(move)

    assert attempts > 3
    assert (done.vectors_deleted, done.vectors_restored) == (
        expected.vectors_deleted,
        expected.vectors_restored,
    )
    assert move.held() == undisturbed.held()
    kinds = [entry["type"] for entry in move.entries()]
    assert kinds[-1] == Kind.ROLLBACK_COMPLETED
