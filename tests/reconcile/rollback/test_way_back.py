"""A rollback restores the former state of the target, whatever it was, and nothing else."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.errors import (
    ArtefactDamagedError,
    IndeterminateError,
    PreconditionError,
    RemoteUnavailableError,
)
from migrate.model.records import KvEntry, Vector, VectorId
from migrate.ports import Target
from migrate.runtime import Runtime
from migrate.upload.pre_images import capture_pre_images
from reconcile.rollback.report import PASSES_MAX
from tests.harness.fakes.memory_source import DIMENSIONS, UnexpectedError
from tests.harness.fakes.memory_target import some_calls
from tests.harness.move import COUNTER, Move, all_ids, new_move
from tests.harness.tiers import examples, struck_at

POINTS = 23
OURS = all_ids(POINTS)
OUR_KEYS = [*(f"file:file-{number}" for number in range(5)), COUNTER]
THEIR_IDS = ["theirs-1", "theirs-2", "file-9_0"]
THEIR_KEYS = ["file:theirs", "other", "file:"]
FAR = 4_000_000_000

texts = st.text(max_size=5)
metadata_fields: st.SearchStrategy[dict[str, Any] | None] = st.none() | st.dictionaries(
    st.sampled_from(["old", "n", "tags"]),
    texts | st.booleans() | st.integers(-5, 5) | st.just(0.5) | st.lists(texts, max_size=2),
    max_size=3,
)
values = st.lists(
    st.sampled_from([0.0, -0.0, 1.0, -2.5, 1e-45, 3.4e38, 0.1]),
    min_size=DIMENSIONS,
    max_size=DIMENSIONS,
)
namespaces = st.sampled_from([None, "trial"])
kv_metadata = st.none() | st.dictionaries(st.sampled_from(["by", "at"]), texts | st.integers(0, 9))
kv_values = st.binary(max_size=12) | st.sampled_from([b"3", b'["x"]', b"\xff\xfe"])


@st.composite
def vectors(draw: st.DrawFn, names: Sequence[str]) -> dict[VectorId, Vector]:
    """Vectors that an index may hold under some of these ids."""
    chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=6))
    return {
        VectorId(name): Vector(
            id=VectorId(name),
            values=np.array(draw(values), np.float32),
            namespace=draw(namespaces),
            metadata=draw(metadata_fields),
        )
        for name in chosen
    }


@st.composite
def entries(draw: st.DrawFn, names: Sequence[str]) -> dict[str, KvEntry]:
    """Entries that a namespace may hold under some of these keys."""
    chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=4))
    return {
        name: KvEntry(
            key=name,
            value=draw(kv_values),
            metadata=draw(kv_metadata),
            expiration=draw(st.sampled_from([None, FAR])),
        )
        for name in chosen
    }


def fill(move: Move, held: dict[VectorId, Vector], keys: dict[str, KvEntry]) -> None:
    move.vectors.stored |= held
    move.kv.stored |= keys


@pytest.mark.slow
@pytest.mark.fault("I7", "B01", "B02", "B05", "K08", "R09")
@settings(max_examples=examples(20))
@given(
    st.tuples(vectors(OURS), vectors(THEIR_IDS)),
    st.tuples(entries(OUR_KEYS), entries(THEIR_KEYS)),
    vectors(["since-1", "since-2"]),
    entries(["file:since", "unrelated", *THEIR_KEYS]),
)
def test_undoing_a_run_gives_back_what_was_there_and_keeps_what_others_did_since(
    held: tuple[dict[VectorId, Vector], ...],
    keys: tuple[dict[str, KvEntry], ...],
    held_since: dict[VectorId, Vector],
    keys_since: dict[str, KvEntry],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        move = new_move(Path(folder), POINTS)
        fill(move, held[0] | held[1], keys[0] | keys[1])
        move.plan(into_non_empty=True)
        move.migrate()
        assert set(OURS) <= move.vectors.stored.keys()

        fill(move, held_since, keys_since)
        done = move.roll_back(leave_later_writes=True)

        left = move.held()
        move.vectors.stored, move.kv.stored = {}, {}
        fill(move, held[0] | held[1] | held_since, keys[0] | keys[1] | keys_since)
        assert left == move.held()
        assert (done.vectors_restored, done.kv_restored) == (len(held[0]), len(keys[0]))
        assert done.conflicts == []

        move.calls.made.clear()
        again = move.roll_back()
        assert (again.already_done, move.calls.made) == (True, [])


@pytest.mark.slow
@pytest.mark.fault("I7", "B03")
@settings(max_examples=examples(10))
@given(vectors(OURS), entries(OUR_KEYS), vectors(OURS), entries(OUR_KEYS))
def test_what_others_changed_since_is_kept_and_listed_and_only_undone_by_name(
    held: dict[VectorId, Vector],
    keys: dict[str, KvEntry],
    changed: dict[VectorId, Vector],
    keys_changed: dict[str, KvEntry],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        move = new_move(Path(folder), POINTS)
        fill(move, held, keys)
        before = move.held()
        move.plan(into_non_empty=True)
        move.migrate()
        theirs = {key: replace(one, metadata={"whose": "theirs"}) for key, one in changed.items()}
        their_keys = {
            key: replace(one, value=b"theirs " + one.value) for key, one in keys_changed.items()
        }
        fill(move, theirs, their_keys)

        kept = move.roll_back()

        assert sorted(kept.conflicts) == sorted([*theirs, *their_keys])
        for key, one in theirs.items():
            assert move.vectors.stored[key] is one
        for name, entry in their_keys.items():
            assert move.kv.stored[name] is entry
        forced = move.roll_back(forced=frozenset(kept.conflicts))
        assert forced.conflicts == []
        assert move.held() == before


@pytest.mark.fault("I7", "K04")
def test_an_older_state_that_a_read_shows_is_no_change_by_others(tmp_path: Path) -> None:
    move = new_move(tmp_path, POINTS)
    before = move.held()
    move.plan()
    move.migrate()
    one, key = move.vector(OURS[4]), OUR_KEYS[2]
    move.vectors.stale[one.id] = [replace(one, metadata={"at": "a trial"})] * (PASSES_MAX - 1)
    move.kv.stale[key] = [replace(move.kv.stored[key], value=b"a trial's")]

    done = move.roll_back()

    assert done.conflicts == []
    assert move.held() == before


def respelt(value: Any) -> Any:
    """The JSON value with every whole number in another spelling, as a service may print it."""
    match value:
        case bool():
            return value
        case float() if value.is_integer():
            return int(value)
        case int() if abs(value) <= 2**53:
            return float(value)
        case dict():
            return {key: respelt(inner) for key, inner in value.items()}
        case list():
            return [respelt(inner) for inner in value]
        case _:
            return value


@pytest.mark.slow
@pytest.mark.fault("F08", "I7", "R03")
def test_a_target_that_spells_numbers_its_own_way_is_equal_and_gives_everything_back(
    tmp_path: Path,
) -> None:
    """In settling, reconcile and rollback, for written vectors and for pre-images."""
    move = new_move(tmp_path, POINTS)
    for number, payload in enumerate(move.source.points.values()):
        payload |= {"far": 1.5e17 + number * 2**20, "whole": 3.0, "list": 2, "deep": {"n": 1e300}}
    old = Vector(
        id=OURS[1],
        values=np.full(DIMENSIONS, 0.5, np.float32),
        namespace=None,
        metadata={"far": 1.5e17, "one": 1},
    )
    fill(move, {old.id: old}, {})
    before = move.held()
    move.vectors.spelt = lambda vector: replace(vector, metadata=respelt(vector.metadata))
    move.plan(into_non_empty=True)
    move.migrate()

    report = move.reconcile()
    done = move.roll_back()

    assert (report.verdict, report.drift["mismatched"]) == ("equal", 0)
    assert done.conflicts == []
    assert move.held() == before


def prepared(folder: Path) -> Move:
    """A move over two ids, a key and a counter that existed; then three foreign changes."""
    move = new_move(folder, POINTS)
    old = Vector(
        id=OURS[1],
        values=np.full(DIMENSIONS, 0.5, np.float32),
        namespace="trial",
        metadata={"old": True},
    )
    fill(
        move,
        {old.id: old, OURS[7]: replace(old, id=OURS[7], namespace=None)},
        {
            OUR_KEYS[0]: KvEntry(key=OUR_KEYS[0], value=b"[]", metadata={"a": 1}, expiration=FAR),
            COUNTER: KvEntry(key=COUNTER, value=b"2"),
        },
    )
    move.plan(into_non_empty=True)
    move.migrate()
    move.put(replace(move.vector(OURS[4]), metadata={"whose": "theirs"}))
    move.kv.stored[OUR_KEYS[2]] = replace(move.kv.stored[OUR_KEYS[2]], value=b"theirs")
    move.put(replace(old, id=VectorId("since")))
    move.calls.made.clear()
    return move


def no_cut(_: int, __: str) -> None:
    """Nothing happens."""


def kill_before(wanted: int) -> Callable[[int, str], None]:
    def cut(number: int, _: str) -> None:
        if number == wanted:
            raise UnexpectedError

    return cut


@pytest.mark.slow
@pytest.mark.fault("B02", "B03", "I7", "G17")
@struck_at(some_calls)
def test_killed_before_any_call_a_second_rollback_ends_where_an_undisturbed_one_does(
    tmp_path: Path, chosen: Callable[[Sequence[str]], list[int]]
) -> None:
    undisturbed = prepared(tmp_path / "undisturbed")
    told = undisturbed.roll_back(leave_later_writes=True)
    assert sorted(told.conflicts) == sorted([OURS[4], OUR_KEYS[2]])
    kinds = list(undisturbed.calls.made)
    assert len(kinds) > 12
    for at in chosen(kinds):
        move = prepared(tmp_path / str(at))
        move.calls.before = kill_before(at - 1)
        with suppress(UnexpectedError):
            move.roll_back(leave_later_writes=True)
        move.calls.before = no_cut

        second = move.roll_back(leave_later_writes=True)

        assert move.held() == undisturbed.held()
        assert sorted(second.conflicts) == sorted(told.conflicts)
        move.calls.made.clear()
        third = move.roll_back()
        assert (third.already_done, move.calls.made) == (True, [])
        assert sorted(third.conflicts) == sorted(told.conflicts)
        shutil.rmtree(move.folder)


@pytest.mark.slow
@pytest.mark.fault("B02", "I7", "U01")
def test_a_run_that_was_cut_at_any_write_can_be_taken_back(tmp_path: Path) -> None:
    """A batch without an answer may have been taken, so it is undone too."""
    for number in range(6):
        move = new_move(tmp_path / str(number), POINTS)
        old = KvEntry(key=OUR_KEYS[1], value=b"old", metadata=[1])
        fill(move, {}, {old.key: old})
        before = move.held()
        move.plan(into_non_empty=True, vectors_per_upload=10)

        def cut(_: int, what: str, move: Move = move, wanted: int = number) -> None:
            if what in {"upsert", "kv write"} and len(move.calls.writes) == wanted:
                raise UnexpectedError

        move.calls.before = cut
        with suppress(UnexpectedError):
            move.migrate()
        move.calls.before = no_cut

        move.roll_back()

        assert move.held() == before


@pytest.mark.fault("B02", "B05")
def test_ids_the_run_never_came_to_write_are_not_waited_for(tmp_path: Path) -> None:
    """Another writer wrote one meanwhile: it is a conflict, not a failed deletion."""
    move = new_move(tmp_path, POINTS)
    move.plan(vectors_per_upload=10)

    def cut(_: int, what: str) -> None:
        if what == "upsert" and move.calls.writes:
            raise UnexpectedError

    move.calls.before = cut
    with suppress(UnexpectedError):
        move.migrate()
    move.calls.before = no_cut
    with move.opened() as run:
        end = run.state().vectors_written()[-1].end
    never_written = Vector(
        id=OURS[-1], values=np.ones(DIMENSIONS, np.float32), namespace=None, metadata=None
    )
    assert end < POINTS or OURS[-1] not in move.vectors.stored
    fill(move, {never_written.id: never_written}, {})

    move.roll_back()

    assert list(move.vectors.stored) == [never_written.id]


@pytest.mark.fault("B05")
def test_later_writes_are_named_before_anything_is_sent_and_want_consent(tmp_path: Path) -> None:
    move = prepared(tmp_path)
    move.kv.stored["file:since"] = KvEntry(key="file:since", value=b"[]")
    before = move.held()

    with pytest.raises(PreconditionError, match="1 vector and 1 KV key") as caught:
        move.roll_back()

    assert "--leave-later-writes" in caught.value.remedy
    assert (move.calls.writes, move.held()) == ([], before)
    listed = move.run_path / "rollback" / "later-writes.ids"
    assert listed.read_text(encoding="utf-8").splitlines() == ["since", "file:since"]
    done = move.roll_back(leave_later_writes=True)
    assert done.later_writes == 2
    assert "since" in move.vectors.stored
    assert "file:since" in move.kv.stored


@pytest.mark.fault("B05", "R07")
def test_a_target_that_cannot_be_listed_is_not_undone(tmp_path: Path) -> None:
    """Without the listing, later writes cannot be found."""
    move = prepared(tmp_path)

    def fail(_: int, what: str) -> None:
        if what == "list":
            raise IndeterminateError("no end", remedy="try again")

    move.calls.before = fail
    with pytest.raises(IndeterminateError):
        move.roll_back(leave_later_writes=True)

    assert move.calls.writes == []


@pytest.mark.slow
@pytest.mark.fault("B01", "P03")
def test_nothing_is_written_before_every_pre_image_is_there(tmp_path: Path) -> None:
    """A capture that fails at any call writes nothing, and the next run keeps all records."""
    whole = prepared_for_capture(tmp_path / "whole")
    with whole.opened() as run:
        capture_pre_images(
            run,
            Target(whole.vectors, whole.kv),
            Runtime(clock=whole.clock, progress=whole.progress),
        )
        expected = run.state().pre_image_parts
    calls = len(whole.calls.made)
    assert calls >= 5
    for number in range(calls):
        for error in (UnexpectedError(), RemoteUnavailableError("gone", remedy="again")):
            move = prepared_for_capture(tmp_path / "cut")

            def cut(at: int, _: str, wanted: int = number, error: Exception = error) -> None:
                if at == wanted:
                    raise error

            move.calls.before = cut
            before = move.held()
            with pytest.raises((UnexpectedError, RemoteUnavailableError)):
                move.migrate()
            assert (move.calls.writes, move.held()) == ([], before)
            move.calls.before = no_cut
            move.migrate()
            with move.opened() as run:
                assert run.state().pre_image_parts == expected
            move.roll_back()
            assert move.held() == before
            shutil.rmtree(move.folder)


def prepared_for_capture(folder: Path) -> Move:
    move = new_move(folder, POINTS)
    old = Vector(
        id=OURS[1],
        values=np.full(DIMENSIONS, 0.5, np.float32),
        namespace=None,
        metadata={"old": True},
    )
    fill(move, {old.id: old}, {COUNTER: KvEntry(key=COUNTER, value=b"1")})
    move.plan(into_non_empty=True)
    move.calls.made.clear()
    return move


@pytest.mark.fault("B01")
@pytest.mark.parametrize("what", ["vector", "key"])
def test_a_listed_record_that_cannot_be_read_refuses_the_run(tmp_path: Path, what: str) -> None:
    move = prepared_for_capture(tmp_path)
    if what == "vector":
        move.vectors.withheld = frozenset([OURS[1]])
    else:

        def vanish(_: int, call: str) -> None:
            if call == "kv read":
                move.kv.stored.pop(COUNTER)

        move.calls.before = vanish

    with pytest.raises(IndeterminateError):
        move.migrate()
    assert move.calls.writes == []


@pytest.mark.fault("B01", "G16")
@pytest.mark.parametrize("name", ["part-00000.parquet", "existing.parquet", "kv.parquet"])
@pytest.mark.parametrize("gone", [True, False])
def test_without_its_pre_images_a_run_writes_no_more_and_is_not_undone(
    tmp_path: Path, name: str, *, gone: bool
) -> None:
    move = prepared_for_capture(tmp_path)

    def cut(_: int, what: str) -> None:
        if what == "upsert" and move.calls.writes:
            raise UnexpectedError

    move.calls.before = cut
    with suppress(UnexpectedError):
        move.migrate()
    move.calls.before = no_cut
    writes = list(move.calls.writes)
    path = move.run_path / "pre-images" / name
    if gone:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")

    for action in (move.migrate, move.roll_back):
        with pytest.raises(ArtefactDamagedError, match=name):
            action()
    assert move.calls.writes == writes


@pytest.mark.fault("P03")
@pytest.mark.parametrize("key", [OUR_KEYS[0], "file:theirs", COUNTER])
def test_a_namespace_that_is_not_empty_is_refused_unless_asked_for(
    tmp_path: Path, key: str
) -> None:
    move = new_move(tmp_path, POINTS)
    fill(move, {}, {key: KvEntry(key=key, value=b"1")})
    move.plan()

    with pytest.raises(PreconditionError, match="KV namespace memory is not empty") as caught:
        move.migrate()
    assert "--into-non-empty" in caught.value.remedy
    assert move.calls.writes == []


@pytest.mark.fault("P03", "K08")
def test_keys_of_others_in_the_namespace_do_not_make_it_ours(tmp_path: Path) -> None:
    move = new_move(tmp_path, POINTS)
    other = KvEntry(key="session:1", value=b"1")
    fill(move, {}, {other.key: other})
    move.plan()

    move.migrate()

    assert move.kv.stored["session:1"] is other
    assert move.reconcile().verdict == "equal"


@pytest.mark.fault("B01")
def test_a_counter_that_is_no_text_can_be_shown_and_put_back(tmp_path: Path) -> None:
    move = new_move(tmp_path, POINTS)
    fill(move, {}, {COUNTER: KvEntry(key=COUNTER, value=b"\xff\x00")})
    before = move.held()
    move.plan(into_non_empty=True)
    move.migrate()

    done = move.roll_back()

    assert move.held() == before
    assert b"\\xff" in Path(done.manifest).read_bytes()


@pytest.mark.fault("F20", "I7")
@pytest.mark.parametrize("former", [None, b'["theirs"]'])
def test_a_run_whose_counter_overwrote_a_file_can_be_taken_back(
    tmp_path: Path, former: bytes | None
) -> None:
    """Earlier versions could plan such runs; `plan` refuses them now."""
    key = "file:file-1"
    move = new_move(tmp_path, POINTS)
    if former is not None:
        move.kv.stored[key] = KvEntry(key=key, value=former)
    before = move.held()
    move.plan(counter_key=key, into_non_empty=True)
    move.migrate()
    report = move.roll_back()

    assert report.conflicts == []
    assert move.held() == before


@pytest.mark.fault("F10", "B01")
def test_a_listing_that_leaves_out_a_vector_is_no_pre_image(tmp_path: Path) -> None:
    """Otherwise it would count as absent before the run, and a rollback would delete it."""
    move = prepared_for_capture(tmp_path)
    before = move.held()
    move.vectors.left_out = frozenset([OURS[1]])

    with pytest.raises(IndeterminateError, match=OURS[1]):
        move.migrate()

    assert (move.calls.writes, move.held()) == ([], before)
    move.vectors.left_out = frozenset()
    move.migrate()
    move.roll_back()
    assert move.held() == before
