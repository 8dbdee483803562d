"""Changes of another writer are named field by field, and kept by rollback and repair."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from migrate.model.records import KvEntry, Vector, VectorId
from reconcile.differences import EXPIRATION_TOLERANCE_S, entry_differences, vector_differences
from tests.harness.move import COUNTER, Move, finished_move, new_move

pytestmark = pytest.mark.fault("F02", "B03", "R09")
POINTS = 30
VECTOR, KEY = "file-2_3", "file:file-2"
FAR = 4_000_000_000


def of_vector(**changed: Any) -> Callable[[Move], None]:
    def do(move: Move) -> None:
        move.put(replace(move.vector(VECTOR), **changed))

    return do


def of_entry(key: str, **changed: Any) -> Callable[[Move], None]:
    def do(move: Move) -> None:
        move.kv.stored[key] = replace(move.kv.stored[key], **changed)

    return do


def a_field(move: Move) -> None:
    held = move.vector(VECTOR)
    move.put(replace(held, metadata={**(held.metadata or {}), "text": "theirs", "more": 1}))


def a_value(move: Move) -> None:
    held = move.vector(VECTOR)
    move.put(replace(held, values=held.values + np.float32(1), namespace="tenant"))


# Changes of another writer: q2v writes neither namespaces nor KV metadata nor expirations.
CERTAIN = [
    (VECTOR, of_vector(namespace="tenant"), ["namespace"]),
    (VECTOR, a_value, ["values", "namespace"]),
    (KEY, of_entry(KEY, metadata={"by": "others"}), ["kv metadata"]),
    (KEY, of_entry(KEY, expiration=FAR), ["kv expiration"]),
    (KEY, of_entry(KEY, value=b"[]", metadata=0), ["kv value", "kv metadata"]),
    (COUNTER, of_entry(COUNTER, metadata="theirs"), ["kv metadata"]),
    (COUNTER, of_entry(COUNTER, expiration=FAR), ["kv expiration"]),
]
# Changes that may also be damage: a repair overwrites them.
UNCERTAIN = [
    (VECTOR, a_field, ["metadata.more", "metadata.text"]),
    (KEY, of_entry(KEY, value=b"[]"), ["kv value"]),
    (COUNTER, of_entry(COUNTER, value=b"17"), ["kv value"]),
]
ALL = [*CERTAIN, *UNCERTAIN]


@pytest.mark.parametrize(("where", "change", "differs"), ALL)
def test_reconcile_names_what_differs_and_rollback_keeps_it(
    tmp_path: Path, where: str, change: Callable[[Move], None], differs: list[str]
) -> None:
    move = finished_move(tmp_path, POINTS)
    change(move)
    theirs = move.held()

    report = move.reconcile()
    kept = move.roll_back()

    assert (report.verdict, report.document()["differs"]) == ("drift", {where: differs})
    file = Path(str(report.document()["differs_file"])).read_bytes()
    assert orjson.loads(file) == {"id": where, "differs": differs}
    assert (kept.conflicts, {one: list(what) for one, what in kept.differs.items()}) == (
        [where],
        {where: differs},
    )
    left = {**move.held()[0], **move.held()[1]}
    assert left == {where: {**theirs[0], **theirs[1]}[where]}, "nothing else, and unchanged"
    assert move.roll_back(forced=frozenset([where])).conflicts == []
    assert move.held() == ({}, {})


@pytest.mark.slow
@pytest.mark.parametrize(("where", "change", "differs"), CERTAIN)
def test_a_repair_keeps_what_only_another_writer_can_have_done(
    tmp_path: Path, where: str, change: Callable[[Move], None], differs: list[str]
) -> None:
    move = finished_move(tmp_path, POINTS)
    equal = move.held()
    change(move)
    del move.vectors.stored[VectorId("file-0_0")]
    theirs = {**move.held()[0], **move.held()[1]}[where]
    assert differs
    move.reconcile()

    move.migrate()

    assert move.kept() == [where]
    assert {**move.held()[0], **move.held()[1]}[where] == theirs
    assert "file-0_0" in move.vectors.stored, "the rest is repaired"
    move.calls.made.clear()
    move.migrate()
    assert move.calls.writes == [], "the same report is not repaired from twice"
    move.migrate(forced=frozenset([where, "another"]))
    assert (move.kept(), move.held()) == ([], equal)
    assert move.reconcile().verdict == "equal"


@pytest.mark.parametrize(("where", "change", "differs"), UNCERTAIN)
def test_a_repair_mends_what_may_be_damage(
    tmp_path: Path, where: str, change: Callable[[Move], None], differs: list[str]
) -> None:
    move = finished_move(tmp_path, POINTS)
    equal = move.held()
    change(move)
    assert list(move.reconcile().differs) == [where]
    assert differs

    move.migrate()

    assert (move.kept(), move.held()) == ([], equal)


@pytest.mark.slow
def test_with_a_time_to_live_the_expiry_is_compared_to_within_a_minute(tmp_path: Path) -> None:
    move = new_move(tmp_path, POINTS)
    move.plan(ttl_s=3_000_000_000)
    move.migrate()
    ours = move.kv.stored[KEY]
    assert ours.expiration is not None
    verdicts = {}
    for shift in (0, EXPIRATION_TOLERANCE_S, EXPIRATION_TOLERANCE_S + 1, None):
        expiration = None if shift is None else ours.expiration + shift
        move.kv.stored[KEY] = replace(ours, expiration=expiration)
        verdicts[shift] = move.reconcile().verdict

    assert list(verdicts.values()) == ["equal", "equal", "drift", "drift"]
    assert move.roll_back().conflicts == [KEY]


def test_what_was_in_a_namespace_before_is_given_back_into_it(tmp_path: Path) -> None:
    """A vector that another writer moved out of its namespace since is a conflict."""
    move = new_move(tmp_path, POINTS)
    old = Vector(
        id=VectorId(VECTOR), values=np.ones(4, np.float32), namespace="trial", metadata={"old": 1}
    )
    move.put(old)
    move.plan(into_non_empty=True)
    move.migrate()
    move.put(replace(old, namespace=None))

    kept = move.roll_back()

    assert kept.conflicts == [VECTOR]
    assert "metadata.old" in kept.differs[VECTOR]


def test_names_are_exact_and_numbers_count_by_value() -> None:
    entry = KvEntry(key="k", value=b"[]", metadata={"n": 1}, expiration=None)
    vector = Vector(
        id=VectorId("a"),
        values=np.array([1, 0], np.float32),
        namespace=None,
        metadata={"a": 1, "b": {"c": True, "d": 1.5e17}, "e": None},
    )
    respelt = replace(
        vector, namespace="", metadata={"a": 1.0, "b": {"c": True, "d": 150000000000000000}}
    )
    other = replace(vector, metadata={"a": "1", "b": {"c": 1}, "e": None})

    assert entry_differences(entry, replace(entry, metadata={"n": 1.0})) == ()
    assert entry_differences(entry, replace(entry, metadata={"n": True})) == ("kv metadata",)
    assert vector_differences(vector, respelt) == ("metadata.e",)
    assert vector_differences(vector, other) == ("metadata.a", "metadata.b.c", "metadata.b.d")


def test_the_note_of_a_removal_by_the_store_in_a_worker_is_no_difference() -> None:
    entry = KvEntry(key="file:a", value=b"[]")
    note = {"removing": "1,4-7", "since": 1_790_000_000_000}

    assert entry_differences(entry, replace(entry, metadata=note)) == ()
    assert entry_differences(entry, replace(entry, metadata={**note, "n": 1})) == ("kv metadata",)
    with_metadata = replace(entry, metadata={"n": 1})
    assert entry_differences(with_metadata, replace(entry, metadata=note)) == ("kv metadata",)


@pytest.mark.fault("F10", "R04")
def test_a_listing_that_leaves_out_what_can_be_read_is_a_contradiction(tmp_path: Path) -> None:
    move = finished_move(tmp_path, POINTS)
    move.vectors.left_out = frozenset(["file-0_0", VECTOR])
    del move.vectors.stored[VectorId("file-1_1")]
    move.kv.left_out = frozenset([KEY])
    move.kv.withheld = frozenset(["file:file-3"])
    walks = 2

    report = move.reconcile()

    assert (report.verdict, report.exit_code) == ("indeterminate", 13)
    assert report.contradicted == {"unlisted": 2, "kv_unlisted": 1, "kv_unreadable": 1}
    assert report.drift["missing"] == 1, "what cannot be read either is missing"
    assert "2 vectors can be read by id and are not listed, among them 'file-0_0'" in report.why
    assert f"1 KV keys can be read and are not listed, among them '{KEY}'" in report.why
    assert "1 KV keys are listed and read as absent, among them 'file:file-3'" in report.why
    found = move.ids_of(report)
    assert (found["unlisted"], found["missing"]) == (["file-0_0", VECTOR], ["file-1_1"])
    assert move.calls.made.count("list") > walks, "listed again before it is reported"
    move.migrate()
    assert move.calls.writes == [], "a contradiction is not repaired"


@pytest.mark.fault("F10", "R05")
def test_a_listing_that_only_lags_is_no_contradiction(tmp_path: Path) -> None:
    move = finished_move(tmp_path, POINTS)
    move.vectors.left_out = frozenset([VECTOR])

    def catch_up(_: int, what: str) -> None:
        if what == "list" and move.calls.made.count("fetch"):
            move.vectors.left_out = frozenset()

    move.calls.before = catch_up

    assert move.reconcile().verdict == "equal"
