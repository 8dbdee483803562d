"""A fresh start: what runs and a list name goes, and nothing else."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from migrate.cloudflare.kv import WorkersKvTarget
from migrate.cloudflare.vectorize import VectorizeTarget
from sandbox.profile import INSTANT
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import Workbench, points, workbench
from tests.harness.world import open_world

pytestmark = pytest.mark.slow

VALUES = [1.0] * DIMENSIONS


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """A finished move beside vectors and keys of two others, one of which a list names."""
    with workbench(tmp_path, points(40)) as opened:
        for owner in ("left", "old"):
            for number in range(3):
                name = f"{owner}-{number}"
                opened.sandbox.store.put_vector(opened.index, name, VALUES, {"of": owner})
                opened.sandbox.store.put_kv(opened.namespace_id, f"file:{name}", b"[]")
        assert opened.run("snapshot").exit_code == 0
        assert opened.run("migrate", "--into-non-empty").exit_code == 0
        yield opened


@pytest.fixture
def allow(tmp_path: Path) -> str:
    """The list: everything of the old owner, and a name that nothing has."""
    names = [name for number in range(3) for name in (f"old-{number}", f"file:old-{number}")]
    file = tmp_path / "allow.ids"
    file.write_text("\n".join([*names, "no-such-name"]) + "\n", encoding="utf-8")
    return str(file)


LEFT = {f"left-{number}" for number in range(3)}
LEFT_KEYS = {f"file:left-{number}" for number in range(3)}


@pytest.mark.slow
@pytest.mark.fault("Z01")
def test_without_execute_nothing_is_written_and_everything_is_counted(
    bench: Workbench, allow: str
) -> None:
    before = bench.state()
    shown = bench.run("reset-target", "--allow", allow)
    people = bench.run("reset-target", "--allow", allow, as_json=False)

    assert shown.exit_code == 4
    document = shown.document
    assert (document["vectors_deleted"], document["kv_deleted"]) == (40, 7)
    assert document["allowed"] == {"vectors": 3, "keys": 3, "unknown": ["no-such-name"]}
    assert (document["left"]["vectors"], document["left"]["keys"]) == (3, 3)
    assert document["minutes"] > 0
    assert "q2v provision" in people.stdout
    assert bench.state() == before


@pytest.mark.slow
@pytest.mark.fault("Z01")
def test_what_nothing_names_is_left(bench: Workbench, allow: str) -> None:
    done = bench.run("reset-target", "--execute", "--allow", allow)
    again = bench.run("reset-target", "--execute", "--allow", allow)

    assert done.exit_code == 4, done.stderr
    assert set(bench.stored()) == LEFT
    assert set(bench.entries()) == LEFT_KEYS
    assert set(done.document["left"]["first"]) <= LEFT | LEFT_KEYS
    assert again.document["runs"] == []
    assert again.document["allowed"]["vectors"] == 0
    assert set(bench.stored()) == LEFT
    assert bench.run("status").document["situation"] == "rolled_back"


@pytest.mark.slow
@pytest.mark.fault("Z01")
def test_an_emptied_target_takes_the_next_move(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        assert bench.move().exit_code == 0
        done = bench.run("reset-target", "--execute")
        moved = bench.run("migrate")
        equal = bench.run("reconcile")

    assert done.exit_code == 0, done.stdout
    assert moved.exit_code == 0, moved.stderr
    assert equal.document["verdict"] == "equal"


@pytest.mark.slow
@pytest.mark.fault("Z02")
def test_a_change_of_others_is_kept_unless_the_list_names_it(bench: Workbench, allow: str) -> None:
    for name in ("file-0001_2", "file-0001_3"):
        bench.sandbox.store.put_vector(bench.index, name, VALUES, {"of": "others"})
    with Path(allow).open("a", encoding="utf-8") as file:
        file.write("file-0001_3\n")

    done = bench.run("reset-target", "--execute", "--allow", allow)

    assert done.document["conflicts"] == ["file-0001_2"]
    assert set(bench.stored()) == {*LEFT, "file-0001_2"}


@pytest.mark.slow
@pytest.mark.fault("Z02")
def test_a_list_that_names_what_a_rollback_has_kept_leaves_no_conflict_behind(
    bench: Workbench, allow: str
) -> None:
    bench.sandbox.store.put_vector(bench.index, "file-0001_2", VALUES, {"of": "others"})
    kept = bench.run("rollback", "--execute", "--yes", "--leave-later-writes")
    conflicts = bench.run("status").document["situation"]
    unnamed = bench.run("reset-target", "--execute", "--allow", allow)
    still = bench.run("status").document["situation"]
    with Path(allow).open("a", encoding="utf-8") as file:
        file.write("file-0001_2\n")
    shown = bench.run("reset-target", "--allow", allow)
    done = bench.run("reset-target", "--execute", "--allow", allow)

    assert (kept.exit_code, kept.document["conflicts"]) == (4, ["file-0001_2"])
    assert (conflicts, still) == ("conflicts", "conflicts")
    assert unnamed.document["conflicts"] == ["file-0001_2"]
    assert (shown.document["vectors_deleted"], shown.document["allowed"]["vectors"]) == (0, 1)
    assert done.document["conflicts"] == []
    assert set(bench.stored()) == LEFT
    assert bench.run("status").document["situation"] == "rolled_back"


@pytest.mark.slow
@pytest.mark.fault("Z01")
def test_a_dry_run_counts_what_a_run_has_made_once(bench: Workbench, allow: str) -> None:
    with Path(allow).open("a", encoding="utf-8") as file:
        file.write("file-0001_2\nfile:file-0001\n")
    shown = bench.run("reset-target", "--allow", allow).document
    done = bench.run("reset-target", "--execute", "--allow", allow).document

    for counted in (shown, done):
        assert (counted["vectors_deleted"], counted["kv_deleted"]) == (40, 7)
        assert (counted["allowed"]["vectors"], counted["allowed"]["keys"]) == (3, 3)
    assert shown["allowed"]["unknown"] == ["no-such-name"]


@pytest.mark.slow
@pytest.mark.fault("Z03")
def test_killed_before_any_write_it_ends_like_an_undisturbed_one(
    bench: Workbench, allow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time it gets one write further than the time before."""
    writes = [0]
    limit = [0]

    def counted(method: object) -> object:
        def call(*arguments: object) -> object:
            if writes[0] >= limit[0]:
                raise KeyboardInterrupt
            writes[0] += 1
            return method(*arguments)  # type: ignore[operator]  # a method of the port

        return call

    for owner in (VectorizeTarget, WorkersKvTarget):
        monkeypatch.setattr(owner, "delete", counted(owner.delete))
    killed = 0
    while bench.run("reset-target", "--execute", "--allow", allow).exit_code != 4:
        killed += 1
        writes[0], limit[0] = 0, killed
        assert killed < 20

    assert killed >= 3, "it was killed"
    assert set(bench.stored()) == LEFT
    assert set(bench.entries()) == LEFT_KEYS


@pytest.mark.slow
@pytest.mark.fault("Z02")
def test_another_target_is_not_touched(bench: Workbench, allow: str) -> None:
    """The runs of this folder wrote elsewhere: nothing is rolled back."""
    namespace = bench.sandbox.store.create_kv_namespace("another")
    bench.environment["Q2V_KV_NAMESPACE_ID"] = namespace
    done = bench.run("reset-target", "--execute")

    assert done.document["runs"] == []
    assert len(bench.stored()) == 46


@pytest.mark.slow
@pytest.mark.fault("Z01")
def test_a_name_of_the_list_means_only_itself(bench: Workbench, tmp_path: Path) -> None:
    """Neither what begins with a name nor a key that its id stands in."""
    one = tmp_path / "one.ids"
    one.write_text("old-1\n", encoding="utf-8")
    bench.sandbox.store.put_vector(bench.index, "old-11", VALUES, {"of": "old"})

    assert bench.run("reset-target", "--execute", "--allow", str(one)).exit_code == 4

    assert set(bench.stored()) == {*LEFT, "old-0", "old-2", "old-11"}
    assert set(bench.entries()) == {*LEFT_KEYS, *(f"file:old-{number}" for number in range(3))}


@pytest.mark.slow
@pytest.mark.fault("Z01")
def test_what_a_rollback_puts_back_is_counted_as_left_before_it_is(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        bench.sandbox.store.put_vector(bench.index, "file-0001_2", VALUES, {"of": "others"})
        bench.sandbox.store.put_kv(bench.namespace_id, "file:file-0001", b"[]")
        assert bench.run("snapshot").exit_code == 0
        assert bench.run("migrate", "--into-non-empty").exit_code == 0
        shown = bench.run("reset-target")
        done = bench.run("reset-target", "--execute")

    for result in (shown, done):
        left = result.document["left"]
        assert (left["vectors"], left["keys"], result.exit_code) == (1, 1, 4)


@pytest.mark.slow
@pytest.mark.fault("Z01")
def test_what_a_rollback_puts_back_and_the_list_names_is_not_left(tmp_path: Path) -> None:
    """Of the first run, and of a catch-up, which overwrote another writer's vector too."""
    with workbench(tmp_path, points(20)) as bench:
        first, *rest = bench.collection.points
        bench.collection.points = rest
        for name in ("file-0000_0", "file-0001_2", "file-0001_3"):
            bench.sandbox.store.put_vector(bench.index, name, VALUES, {"of": "others"})
        assert bench.run("snapshot").exit_code == 0
        assert bench.run("migrate", "--into-non-empty").exit_code == 0
        bench.collection.points = [first, *rest]
        assert bench.run("catch-up", "--frozen").exit_code == 0
        allow = tmp_path / "allow.ids"
        allow.write_text("file-0000_0\nfile-0001_2\n", encoding="utf-8")
        unnamed = bench.run("reset-target")
        shown = bench.run("reset-target", "--allow", str(allow))
        done = bench.run("reset-target", "--execute", "--allow", str(allow))

        assert set(bench.stored()) == {"file-0001_3"}
    assert unnamed.document["left"]["vectors"] == 3
    assert shown.document["left"]["vectors"] == 1
    assert done.document["left"]["vectors"] == 1


@pytest.mark.slow
@pytest.mark.fault("Z01")
def test_what_a_catch_up_overwrote_is_not_left(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        assert bench.move().exit_code == 0
        first, *rest = bench.collection.points
        changed = {**(first.payload or {}), "text": "new"}
        bench.collection.points = [replace(first, payload=changed), *rest]
        caught = bench.run("catch-up", "--frozen")
        assert caught.exit_code == 0, caught.stderr
        shown = bench.run("reset-target")
        done = bench.run("reset-target", "--execute")

    for result in (shown, done):
        assert result.document["left"] == {"vectors": 0, "keys": 0, "first": []}
        assert result.exit_code == 0


@pytest.mark.slow
@pytest.mark.fault("Z04")
def test_a_listing_that_shows_deleted_keys_for_a_while_is_repeated(tmp_path: Path) -> None:
    profile = replace(INSTANT, kv_visible_after_s=6.0)
    with open_world(tmp_path, points=14, profile=profile) as world, world.calm():
        world.snapshot()
        world.migrate()
        report = world.reset_target()
        world.clock.wait(60)
        entries = world.app.store.read_kv(world.namespace_id)
        left = {key for key, *_ in entries}

    assert report.left_keys == len(left)
    assert left == {"file:file-0", "_vector_count"} | (left & {"file:file-3"})
