"""Going back after the cutover: what the new side accepted meanwhile is not lost."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from migrate.errors import ExitCode
from migrate.mapping.ids import hash_long_id
from migrate.model.records import VectorId
from migrate.storage.folder_lock import FolderLock
from migrate.storage.local_folder import LocalFolder
from reconcile.rollback.later.points import new_point_id
from tests.harness.running.target import DIMENSIONS, INDEX
from tests.harness.running.workbench import Workbench, chunk, points, unit_vectors, workbench

POINTS = 42  # six files of seven chunks
TEMPLATE = "{file_id}_{chunk_index}"


@dataclass
class Worker:
    """The service of the new side: it writes vectors, the KV entry of their file, the counter."""

    bench: Workbench

    def write(self, file_id: str, number: int, count: int = 1, **more: object) -> None:
        """Embed one chunk of a file that has `count` chunks."""
        values = unit_vectors(400, self.dimensions)[300 + number]
        self.bench.sandbox.store.put_vector(
            INDEX, f"{file_id}_{number}", values, chunk(file_id, number, **more)
        )
        ids = [f"{file_id}_{one}" for one in range(count)]
        self._put(f"file:{file_id}", json.dumps(ids, separators=(",", ":")))
        self._count()

    def delete(self, file_id: str, count: int = 7) -> None:
        """Remove a file."""
        for number in range(count):
            self.bench.sandbox.store.remove_vector(INDEX, f"{file_id}_{number}")
        self.bench.sandbox.store.remove_kv(self.bench.namespace_id, f"file:{file_id}")
        self._count()

    @property
    def dimensions(self) -> int:
        """Of the vector index."""
        return len(next(iter(self.bench.stored().values()))[0])

    def _count(self) -> None:
        self._put("_vector_count", str(len(self.bench.stored())))

    def _put(self, key: str, value: str) -> None:
        self.bench.sandbox.store.put_kv(self.bench.namespace_id, key, value.encode())


def work(bench: Workbench) -> None:
    """After the cutover: two new files, one changed chunk, one deleted file."""
    worker = Worker(bench)
    worker.write("new-a", 0, 2, last_modified="2026-12-01T09:00:00Z")
    worker.write("new-a", 1, 2, last_modified="2026-12-01T10:00:00Z")
    worker.write("new-b", 0)
    worker.write("file-0001", 2, 7, text="changed on the new side")
    worker.delete("file-0003")


@pytest.fixture
def moved(tmp_path: Path) -> Iterator[Workbench]:
    """A collection that was moved, and what the new side wrote after that."""
    with workbench(tmp_path, points(POINTS)) as bench:
        assert bench.move().exit_code == 0
        work(bench)
        yield bench


def in_qdrant(bench: Workbench) -> dict[str, tuple[dict[str, Any], list[float]]]:
    """Chunk -> payload and values, read straight from the server."""
    found = {}
    for point in bench.collection.points:
        payload: Any = point.payload
        values: Any = point.vectors[""]
        found[f"{payload['file_id']}_{payload['chunk_index']}"] = (payload, list(values))
    return found


@pytest.mark.fault("L01", "B05")
def test_what_the_new_side_took_comes_back_into_qdrant(moved: Workbench) -> None:
    bench = moved
    before, new_side = in_qdrant(bench), bench.stored()
    at_cutover = bench.state()

    refused = bench.run("rollback", "--execute")
    exported = bench.run("rollback", "--export-later-writes")
    assert bench.state() == at_cutover, "nothing is written"
    checked = bench.run("verify", exported.document["path"])
    preview = bench.run("rollback")
    undone = bench.run("rollback", "--execute")
    bench.collection.is_writable = True
    restored = bench.run(*exported.document["commands"][0][1:4], "--yes")
    again = bench.run("restore", exported.document["path"], "--append", "--yes")

    assert refused.exit_code == ExitCode.PRECONDITION
    assert "--export-later-writes" in refused.stderr
    assert exported.exit_code == 0, exported.stderr
    later = exported.document["later"]
    assert (later["added"], later["changed"], later["deleted"]) == (3, 1, 7)
    assert (later["kv_entries"], later["returns"]) == (3, True)  # two new files, one deleted
    assert (checked.exit_code, checked.document["later"]) == (0, later)
    assert preview.document["later_export"] == exported.document["path"]
    assert undone.exit_code == ExitCode.DRIFT, undone.stderr
    assert undone.document["conflicts"] == ["file-0001_2"]
    assert undone.document["counter_kept"] == "_vector_count"
    assert undone.document["not_exported"] == []
    assert undone.document["later_export"] == exported.document["path"]
    assert (undone.document["later_writes"], undone.document["later_deletions"]) == (5, 7)
    assert {"new-a_0", "new-a_1", "new-b_0", "file-0001_2"} == bench.stored().keys()
    assert restored.exit_code == 0, restored.stderr
    assert (restored.document["equal"], restored.document["written"]) == (True, 4)
    assert (restored.document["replaced"], restored.document["others"]) == (1, POINTS - 1)
    assert len(restored.document["replaced_points"]) == 1
    assert again.document["replaced_points"] == []
    assert again.document["written"] == 0
    found = in_qdrant(bench)
    assert found.keys() == before.keys() | {"new-a_0", "new-a_1", "new-b_0"}
    for vector_id in ("new-a_0", "new-a_1", "new-b_0", "file-0001_2"):
        assert found[vector_id][0] == new_side[vector_id][1]
        assert found[vector_id][1] == pytest.approx(new_side[vector_id][0].tolist())
    for vector_id in before.keys() - {"file-0001_2"}:
        assert found[vector_id] == before[vector_id]
    numbers = {point.key.text for point in bench.collection.points}
    assert new_point_id(VectorId("new-a_0"), TEMPLATE).text in numbers
    assert len(numbers) == POINTS + 3, "the changed chunk kept its point"


@pytest.mark.slow
@pytest.mark.fault("L01", "B05")
@pytest.mark.parametrize("is_exported", [True, False])
def test_a_counter_that_only_later_writes_have_changed_is_named_and_no_conflict(
    tmp_path: Path, is_exported: bool
) -> None:
    with workbench(tmp_path, points(POINTS)) as bench:
        assert bench.move().exit_code == 0
        Worker(bench).write("new-a", 0)
        if is_exported:
            bench.run("rollback", "--export-later-writes")
        consent = [] if is_exported else ["--leave-later-writes"]

        undone = bench.run("rollback", "--execute", *consent)
        in_words = bench.run("rollback", "--execute", as_json=False)
        counter = bench.entries()["_vector_count"]
        named = tmp_path / "forced"
        named.write_text("_vector_count\n")
        forced = bench.run("rollback", "--execute", "--leave-later-writes", "--force", str(named))

        assert undone.exit_code == 0, undone.stderr
        assert undone.document["conflicts"] == []
        assert undone.document["counter_kept"] == "_vector_count"
        assert bench.stored().keys() == {"new-a_0"}
        assert (in_words.exit_code, counter) == (0, str(POINTS + 1).encode())
        assert "_vector_count stays as the later writes have set it" in in_words.stdout
        assert forced.exit_code == 0
        assert forced.document["counter_kept"] is None
        assert "_vector_count" not in bench.entries()


@pytest.mark.slow
@pytest.mark.fault("B03")
def test_a_counter_that_nothing_explains_is_a_conflict(tmp_path: Path) -> None:
    with workbench(tmp_path, points(POINTS)) as bench:
        assert bench.move().exit_code == 0
        bench.sandbox.store.put_kv(bench.namespace_id, "_vector_count", b"7")

        undone = bench.run("rollback", "--execute")

    assert undone.exit_code == ExitCode.DRIFT
    assert undone.document["conflicts"] == ["_vector_count"]


@pytest.mark.slow
@pytest.mark.fault("L01")
def test_the_files_to_embed_and_what_became_of_each_file(moved: Workbench) -> None:
    document = moved.run("rollback", "--export-later-writes").document

    named = json.loads(Path(document["files_to_embed_json"]).read_text())

    assert Path(document["files_to_embed"]).read_text() == "", "all of them return"
    files = {one.pop("file_id"): one for one in named["files"]}
    assert {file: one["action"] for file, one in files.items()} == {
        "file-0001": "restore",
        "file-0003": "remove",
        "new-a": "restore",
        "new-b": "restore",
    }
    assert files["new-a"]["added"] == ["new-a_0", "new-a_1"] or files["new-a"]["added"] == [
        "new-a_1",
        "new-a_0",
    ]
    assert files["new-a"]["last_modified"] == "2026-12-01T10:00:00Z"
    assert files["file-0001"]["changed"] == ["file-0001_2"]
    assert files["file-0003"]["points_to_remove"] == list(range(21, 28))
    assert named["without_file"]["added"] == []


@pytest.mark.slow
@pytest.mark.fault("L02")
def test_shortened_vectors_do_not_return_and_their_files_are_listed(tmp_path: Path) -> None:
    settings = {"Q2V_DIMENSIONS": str(DIMENSIONS), "Q2V_REDUCE": "matryoshka"}
    stored = points(POINTS, dimensions=2 * DIMENSIONS)
    with workbench(tmp_path, stored, dimensions=2 * DIMENSIONS, settings=settings) as bench:
        assert bench.move().exit_code == 0
        work(bench)
        bench.sandbox.store.put_vector(INDEX, "stray", np.ones(DIMENSIONS, np.float32), {})

        exported = bench.run("rollback", "--export-later-writes")
        in_words = bench.run("rollback", "--export-later-writes", as_json=False)
        checked = bench.run("verify", exported.document["path"])
        undone = bench.run("rollback", "--execute")
        bench.collection.is_writable = True
        restored = bench.run("restore", exported.document["path"], "--append", "--yes")

    document = exported.document
    assert exported.exit_code == 0, exported.stderr
    assert document["later"]["returns"] is False
    assert document["files_to_embed_count"] == 3
    assert Path(document["files_to_embed"]).read_text() == "file-0001\nnew-a\nnew-b\n"
    actions = {
        one["file_id"]: one["action"]
        for one in json.loads(Path(document["files_to_embed_json"]).read_text())["files"]
    }
    assert actions == {
        "file-0001": "embed",
        "file-0003": "remove",
        "new-a": "embed",
        "new-b": "embed",
    }
    assert document["without_file"] == ["stray"]
    assert "no file is known: vector stray" in in_words.stdout
    assert checked.exit_code == 0
    assert undone.exit_code == ExitCode.DRIFT
    assert undone.document["files_to_embed"] == document["files_to_embed"]
    assert restored.exit_code == ExitCode.PRECONDITION
    assert f"{DIMENSIONS} values of a vector, the collection {2 * DIMENSIONS}" in restored.stderr
    assert bench.collection.writes == []


@pytest.mark.slow
@pytest.mark.fault("L01", "C06")
def test_what_is_later_than_a_chain_is_exported_and_the_whole_chain_undone(
    tmp_path: Path,
) -> None:
    """Also an id that the catch-up removed, and that the new side has used again."""
    with workbench(tmp_path, points(POINTS)) as bench:
        before = bench.state()
        bench.move()
        del bench.collection.points[-1]
        bench.collection.points[3] = replace(
            bench.collection.points[3], payload=chunk("file-0000", 3, text="changed in Qdrant")
        )
        caught = bench.run("catch-up", "--frozen")
        worker = Worker(bench)
        worker.write("file-0005", 6, 7, text="again")
        worker.write("new-a", 0)
        worker.write("file-0000", 3, 7, text="changed on the new side")

        refused = bench.run("rollback", "--execute")
        exported = bench.run("rollback", "--export-later-writes")
        undone = bench.run("rollback", "--execute")

        left = bench.stored().keys()
        named = json.loads(Path(exported.document["files_to_embed_json"]).read_text())
        for vector_id in left:
            bench.sandbox.store.remove_vector(INDEX, vector_id)
        for key in bench.entries():
            bench.sandbox.store.remove_kv(bench.namespace_id, key)
        assert bench.state() == before
    assert caught.exit_code == 0, caught.stderr
    assert refused.exit_code == ExitCode.PRECONDITION
    later = exported.document["later"]
    assert (later["added"], later["changed"], later["deleted"]) == (2, 1, 0)
    assert [one["file_id"] for one in named["files"]] == ["file-0000", "file-0005", "new-a"]
    assert undone.exit_code == ExitCode.DRIFT
    assert len(undone.document["runs"]) == 2
    assert undone.document["not_exported"] == []
    assert left == {"file-0005_6", "new-a_0", "file-0000_3"}


@pytest.mark.slow
@pytest.mark.fault("L01")
def test_an_export_goes_back_into_an_embedded_store(moved: Workbench, tmp_path: Path) -> None:
    bench = moved
    snapshot_id = bench.run("verify").document["snapshot_id"]
    path = bench.run("rollback", "--export-later-writes").document["path"]
    del bench.environment["QDRANT_URL"]
    bench.environment["QDRANT_PATH"] = str(tmp_path / "store")
    bench.run("restore", snapshot_id, "--yes")

    report = bench.run("restore", path, "--append", "--yes")

    assert report.exit_code == 0, report.stderr
    assert (report.document["equal"], report.document["written"]) == (True, 4)


@pytest.mark.slow
@pytest.mark.fault("L01", "X09")
def test_an_export_is_sealed_with_the_key_of_its_snapshot(tmp_path: Path) -> None:
    settings = {"Q2V_SNAPSHOT_HMAC_KEY": "0123456789abcdef" * 4}
    with workbench(tmp_path, points(20), settings=settings) as bench:
        bench.move()
        Worker(bench).write("new-a", 0)
        path = bench.run("rollback", "--export-later-writes").document["path"]

        fits = bench.run("verify", path)
        bench.environment["Q2V_SNAPSHOT_HMAC_KEY"] = "f" * 64
        other = bench.run("verify", path)

    assert (fits.exit_code, other.exit_code) == (0, ExitCode.DAMAGED)


@pytest.mark.slow
@pytest.mark.fault("L01")
def test_vectors_that_the_new_side_does_not_know_make_files_to_embed(tmp_path: Path) -> None:
    """A point without its other vectors can be restored, and has to be embedded all the same."""
    values = unit_vectors(40)
    stored = [
        replace(point, vectors={"text": point.vectors[""], "title": values[at].tolist()})
        for at, point in enumerate(points(20))
    ]
    settings = {"Q2V_VECTOR_NAME": "text"}
    with workbench(tmp_path, stored, settings=settings, provision=False) as bench:
        spec = bench.collection.vectors
        bench.collection.vectors = {"text": spec, "title": spec}
        bench.provision()
        assert bench.move().exit_code == 0
        Worker(bench).write("new-a", 0)

        exported = bench.run("rollback", "--export-later-writes")
        bench.collection.is_writable = True
        restored = bench.run("restore", exported.document["path"], "--append", "--yes")

    assert exported.exit_code == 0, exported.stderr
    assert exported.document["missing_vectors"] == ["title"]
    assert exported.document["later"]["returns"] is True
    assert Path(exported.document["files_to_embed"]).read_text() == "new-a\n"
    assert restored.exit_code == 0, restored.stderr
    (new,) = [one for one in bench.collection.points if one.payload == chunk("new-a", 0)]
    assert list(new.vectors) == ["text"]


@pytest.mark.slow
@pytest.mark.fault("L01")
def test_what_is_not_of_length_1_is_said_and_reads_back_as_sealed(moved: Workbench) -> None:
    bench = moved
    values = np.full(DIMENSIONS, 3, np.float32)
    bench.sandbox.store.put_vector(INDEX, "long_0", values, chunk("long", 0), "theirs")

    exported = bench.run("rollback", "--export-later-writes").document
    in_words = bench.run("rollback", "--export-later-writes", as_json=False).stdout
    bench.collection.is_writable = True
    restored = bench.run("restore", exported["path"], "--append", "--yes")

    assert (exported["normalised"], exported["in_namespace"]) == (1, 1)
    assert "1 vector was brought to length 1" in in_words
    assert "1 vector is in another namespace than their points name" in in_words
    assert restored.exit_code == 0, restored.stderr


def more_added(bench: Workbench) -> None:
    Worker(bench).write("newer", 0)


def exported_changed(bench: Workbench) -> None:
    values, metadata = bench.stored()["new-b_0"]
    bench.sandbox.store.put_vector(INDEX, "new-b_0", -values, metadata)


def entry_changed(bench: Workbench) -> None:
    bench.sandbox.store.put_kv(bench.namespace_id, "file:new-b", b'["new-b_0","new-b_1"]')


def more_deleted(bench: Workbench) -> None:
    bench.sandbox.store.remove_vector(INDEX, "file-0004_0")


def exported_deleted(bench: Workbench) -> None:
    bench.sandbox.store.remove_vector(INDEX, "new-b_0")


@pytest.mark.slow
@pytest.mark.fault("L03")
@pytest.mark.parametrize(
    ("change", "name"),
    [
        (more_added, "newer_0"),
        (exported_changed, "new-b_0"),
        (entry_changed, "file:new-b"),
        (more_deleted, "file-0004_0"),
        (exported_deleted, "new-b_0"),
    ],
)
def test_an_export_that_is_no_longer_current_is_no_consent(
    moved: Workbench, change: Any, name: str
) -> None:
    bench = moved
    first = bench.run("rollback", "--export-later-writes").document
    change(bench)
    state = bench.state()

    refused = bench.run("rollback", "--execute")
    assert bench.state() == state
    second = bench.run("rollback", "--export-later-writes").document
    undone = bench.run("rollback", "--execute")

    assert refused.exit_code == ExitCode.PRECONDITION
    assert f"'{name}'" in refused.document["error"]["what"]
    assert first["snapshot_id"] in refused.document["error"]["what"]
    assert second["snapshot_id"] == f"{second['run_id']}-later-02"
    assert undone.exit_code == ExitCode.DRIFT
    assert undone.document["later_export"] == second["path"]


@pytest.mark.slow
@pytest.mark.fault("L03")
def test_consent_takes_the_place_of_an_export_that_is_not_current(moved: Workbench) -> None:
    bench = moved
    bench.run("rollback", "--export-later-writes")
    more_added(bench)

    undone = bench.run("rollback", "--execute", "--leave-later-writes")

    assert undone.exit_code == ExitCode.DRIFT
    assert "newer_0" in bench.stored()


@pytest.mark.slow
@pytest.mark.fault("L04")
def test_after_a_rollback_only_what_was_left_is_read(moved: Workbench) -> None:
    """The quick way back: undo first, and export what stayed in the target afterwards."""
    bench = moved
    bench.run("rollback", "--execute", "--leave-later-writes")
    asked = len(bench.sandbox.requests)

    exported = bench.run("rollback", "--export-later-writes").document

    later = exported["later"]
    assert (later["added"], later["changed"], later["deleted"]) == (3, 1, 7)
    read = [one for one in bench.sandbox.requests[asked:] if one.path.endswith("/get_by_ids")]
    assert len(read) <= 6, "no vector that is gone is asked for"
    assert [command[1] for command in exported["commands"]] == ["restore"]


@pytest.mark.slow
def test_nothing_later_is_nothing_exported(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        bench.move()

        exported = bench.run("rollback", "--export-later-writes")
        in_words = bench.run("rollback", "--export-later-writes", as_json=False)
        undone = bench.run("rollback", "--execute")

        left = list(bench.directory.glob("*/runs/*/rollback/later/*"))
    assert exported.exit_code == 0, exported.stderr
    assert (exported.document["exported"], exported.document["path"]) == (False, None)
    assert "nothing in the target is later" in in_words.stdout
    assert left == []
    assert undone.exit_code == 0


@pytest.mark.slow
@pytest.mark.fault("L05")
def test_another_target_another_index_or_a_run_without_writes_is_refused(
    moved: Workbench,
) -> None:
    bench = moved
    export = ("rollback", "--export-later-writes")

    other = bench.run(*export, "--kv-namespace-id", "f" * 32)
    both = bench.run(*export, "--execute")
    pointless = bench.run(*export, "--yes")
    bench.sandbox.store.vectors.delete_index(INDEX)
    gone = bench.run(*export)

    assert other.exit_code == ExitCode.FOREIGN
    assert [both.exit_code, pointless.exit_code] == [ExitCode.USAGE, ExitCode.USAGE]
    assert gone.exit_code == ExitCode.PRECONDITION
    assert "no longer exists" in gone.document["error"]["what"]


@pytest.mark.slow
@pytest.mark.fault("G08", "L05")
def test_two_exports_at_once_are_kept_apart(moved: Workbench) -> None:
    with FolderLock(LocalFolder(moved.directory)):
        second = moved.run("rollback", "--export-later-writes")

    assert second.exit_code == ExitCode.LOCKED


@pytest.mark.slow
@pytest.mark.fault("L06")
def test_an_export_is_taken_by_nothing_but_verify_and_restore(moved: Workbench) -> None:
    bench = moved
    path = bench.run("rollback", "--export-later-writes").document["path"]

    refused = [
        bench.run("plan", path),
        bench.run("migrate", path),
        bench.run("snapshot", "--repair-part", "0", "--of", path),
        bench.run("catch-up", path),
    ]
    status = bench.run("status")
    newest = bench.run("verify")

    for one in refused:
        assert one.exit_code == ExitCode.USAGE, one.stderr
        assert f"`q2v verify {path} --dir {bench.directory}`" in one.stderr
        assert f"`q2v restore {path} --append --dir {bench.directory}`" in one.stderr
    assert status.exit_code == 0
    assert newest.document["snapshot_id"] != Path(path).name


_COMMAND = re.compile(r"`(q2v [^`]+)`")


@pytest.mark.slow
@pytest.mark.fault("L06")
def test_commands_in_advice_work_when_pasted_with_a_folder_of_any_name(tmp_path: Path) -> None:
    with workbench(tmp_path, points(POINTS)) as bench:
        bench.directory = tmp_path / "it's a folder"
        assert bench.move().exit_code == 0
        work(bench)
        path = bench.run("rollback", "--export-later-writes").document["path"]

        refused = bench.run("catch-up", path, as_json=False)
        verify, restore = _COMMAND.findall(refused.stderr)
        verified = bench.run_as_typed(shlex.split(verify)[1:])
        bench.collection.is_writable = True
        restored = bench.run_as_typed([*shlex.split(restore)[1:], "--yes"])
        shown = [bench.run(word, as_json=False).stdout for word in ("gate", "rollback")]

        assert verified.exit_code == 0, verified.stderr
        assert restored.exit_code == 0, restored.stderr
        named = [one for text in shown for one in _COMMAND.findall(text)]
        assert len(named) > 3
        for command in named:
            assert shlex.split(command)[-2:] == ["--dir", str(bench.directory)]


@pytest.mark.slow
@pytest.mark.fault("L01")
def test_a_long_id_that_the_new_side_added_can_move_again(tmp_path: Path) -> None:
    """The field with the whole id is the plan's own: in a payload it would be taken."""
    file = "https://example.com/handbook/2026/travel-and-expenses/limits-and-more.html"
    settings = {"Q2V_MAPPING_LONG_IDS": "hash:vector_id"}
    added = {**chunk(file, 9), "vector_id": f"{file}_9"}
    other = {**chunk("a", 1), "vector_id": "of the Worker's own"}
    with workbench(tmp_path, points(POINTS), settings=settings) as bench:
        assert bench.move().exit_code == 0
        store, values = bench.sandbox.store, unit_vectors(2)
        store.put_vector(bench.index, hash_long_id(f"{file}_9"), values[0], added)
        store.put_vector(bench.index, "another", values[1], other)
        exported = bench.run("rollback", "--export-later-writes")
        bench.collection.is_writable = True
        restored = bench.run("restore", exported.document["path"], "--append", "--yes")
        plan = bench.run("plan")

    assert restored.exit_code == 0, restored.stderr
    payloads = in_qdrant(bench)
    assert payloads[f"{file}_9"][0] == chunk(file, 9)
    assert payloads["a_1"][0] == other, "nothing else could tell it"
    assert plan.document["quarantined"] == {}


@pytest.mark.slow
@pytest.mark.fault("L06")
def test_an_export_goes_only_into_a_collection_that_exists(moved: Workbench) -> None:
    """A wrong address would otherwise get a new collection of four points, and be called equal."""
    bench = moved
    path = bench.run("rollback", "--export-later-writes").document["path"]
    bench.collection.is_missing = bench.collection.is_writable = True

    refused = bench.run("restore", path, "--append", "--yes")

    assert refused.exit_code == ExitCode.PRECONDITION
    assert "does not exist" in refused.stderr
    assert bench.collection.writes == []


@pytest.mark.slow
@pytest.mark.fault("L06", "G15")
@pytest.mark.parametrize("name", ["later.parquet", "kv.parquet", "parts/part-00000.parquet"])
def test_a_changed_file_of_an_export_is_found(moved: Workbench, name: str) -> None:
    bench = moved
    path = Path(bench.run("rollback", "--export-later-writes").document["path"]) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    state = bench.state()

    checked = bench.run("verify", str(path.parent.parent if "/" in name else path.parent))
    refused = bench.run("rollback", "--execute")

    assert checked.exit_code == ExitCode.DAMAGED
    if "/" not in name:
        assert refused.exit_code == ExitCode.DAMAGED
        assert bench.state() == state
