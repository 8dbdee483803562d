"""Differences are found one by one, repaired, and everything can be taken back."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.harness.running.target import DIMENSIONS, INDEX
from tests.harness.running.workbench import Workbench, changed_point, points, workbench

CLASSES = ("missing", "extra", "mismatched", "kv_missing", "kv_extra", "kv_mismatched", "counter")


def _remove(bench: Workbench) -> None:
    bench.sandbox.store.remove_vector(INDEX, "file-0001_2")


def _add(bench: Workbench) -> None:
    bench.sandbox.store.put_vector(INDEX, "stray", np.ones(DIMENSIONS, np.float32), {})


def _flip_a_bit(bench: Workbench) -> None:
    values, metadata = bench.stored()["file-0001_2"]
    bent = values.copy()
    bent.view(np.uint32)[5] ^= 1
    bench.sandbox.store.put_vector(INDEX, "file-0001_2", bent, metadata)


def _change_a_type(bench: Workbench) -> None:
    values, metadata = bench.stored()["file-0001_2"]
    assert metadata is not None
    bench.sandbox.store.put_vector(INDEX, "file-0001_2", values, {**metadata, "chunk_index": "2"})


def _drop_an_entry(bench: Workbench) -> None:
    bench.sandbox.store.remove_kv(bench.namespace_id, "file:file-0001")


def _add_an_entry(bench: Workbench) -> None:
    bench.sandbox.store.put_kv(bench.namespace_id, "file:stray", b"[]")


def _reorder_an_entry(bench: Workbench) -> None:
    ids = json.loads(bench.entries()["file:file-0001"])
    value = json.dumps(ids[::-1]).encode()
    bench.sandbox.store.put_kv(bench.namespace_id, "file:file-0001", value)


def _let_an_entry_expire(bench: Workbench) -> None:
    value = bench.entries()["file:file-0001"]
    bench.sandbox.store.put_kv(bench.namespace_id, "file:file-0001", value, None, 4_000_000_000)


def _count_wrong(bench: Workbench) -> None:
    bench.sandbox.store.put_kv(bench.namespace_id, "_vector_count", b"41")


@pytest.mark.slow
def test_a_second_look_at_the_kv_index_counts_its_files_from_the_start(tmp_path: Path) -> None:
    with workbench(tmp_path, points(7)) as bench:
        bench.move()
        bench.sandbox.store.remove_kv(bench.namespace_id, "file:file-0000")
        compared = bench.run("reconcile", as_json=False)

    lines = compared.stderr.splitlines()
    [again] = [number for number, line in enumerate(lines) if "KV index differs" in line]
    assert lines[again - 1] == lines[again + 1] == "reading the KV index: 1 file"


@pytest.mark.slow
@pytest.mark.fault("R01")
@pytest.mark.parametrize(
    ("change", "drift", "found"),
    [
        (_remove, "missing", "file-0001_2"),
        (_add, "extra", "stray"),
        (_flip_a_bit, "mismatched", "file-0001_2"),
        (_change_a_type, "mismatched", "file-0001_2"),
        (_drop_an_entry, "kv_missing", "file:file-0001"),
        (_add_an_entry, "kv_extra", "file:stray"),
        (_reorder_an_entry, "kv_mismatched", "file:file-0001"),
        (_let_an_entry_expire, "kv_mismatched", "file:file-0001"),
        (_count_wrong, "counter", None),
    ],
)
def test_one_difference_is_found_as_exactly_that(
    tmp_path: Path, change: object, drift: str, found: str | None
) -> None:
    assert callable(change)
    with workbench(tmp_path, points(42)) as bench:
        bench.move()
        change(bench)

        result = bench.run("reconcile")

    document = result.document
    assert (result.exit_code, document["verdict"]) == (4, "drift")
    assert {name: int(name == drift) for name in CLASSES} == {
        name: document["drift"][name] for name in CLASSES
    }
    if found is not None:
        assert [found] == Path(document["files"][drift]).read_text().splitlines()


@pytest.mark.slow
@pytest.mark.fault("R02")
def test_two_vectors_with_swapped_values_are_both_found(tmp_path: Path) -> None:
    """Counts agree, sums agree: only digests per id tell."""
    with workbench(tmp_path, points(42)) as bench:
        bench.move()
        held = bench.stored()
        one, other = "file-0001_2", "file-0003_4"
        bench.sandbox.store.put_vector(INDEX, one, held[other][0], held[one][1])
        bench.sandbox.store.put_vector(INDEX, other, held[one][0], held[other][1])

        document = bench.run("reconcile").document

    assert [one, other] == sorted(Path(document["files"]["mismatched"]).read_text().split())
    combined = Path(document["report"]).with_name("combined.ids").read_text().splitlines()
    assert [f"* {one}", f"* {other}"] == sorted(combined)


@pytest.mark.slow
@pytest.mark.fault("R02")
def test_keys_that_differ_are_in_the_combined_file_beside_the_vectors(tmp_path: Path) -> None:
    with workbench(tmp_path, points(42)) as bench:
        bench.move()
        bench.ask_target(
            f"vectorize/v2/indexes/{bench.index}/delete_by_ids", {"ids": ["file-0001_2"]}
        )
        kv = f"storage/kv/namespaces/{bench.namespace_id}/bulk/delete"
        bench.ask_target(kv, ["file:file-0003"])

        document = bench.run("reconcile").document
        shown = bench.run("reconcile", as_json=False).stdout

    combined = Path(document["report"]).with_name("combined.ids").read_text().splitlines()
    assert combined == ["+ file-0001_2", "+kv file:file-0003"]
    assert "1: file-0001_2" in shown
    assert "1: file:file-0003" in shown


@pytest.mark.slow
@pytest.mark.fault("R02")
def test_of_a_large_class_the_first_ids_are_shown_and_the_file_with_all(tmp_path: Path) -> None:
    with workbench(tmp_path, points(42)) as bench:
        bench.move()
        gone = [f"file-0001_{number}" for number in range(7)]
        bench.ask_target(f"vectorize/v2/indexes/{bench.index}/delete_by_ids", {"ids": gone})

        shown = bench.run("reconcile", as_json=False).stdout

    assert "7: file-0001_0, file-0001_1, file-0001_2 and 4 more in missing.ids" in shown


@pytest.mark.slow
def test_a_point_changed_in_place_in_the_source_is_drift(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        bench.move()
        bench.collection.points[3] = changed_point(points(20)[3], text="changed")

        result = bench.run("reconcile")

    assert result.exit_code == 4
    assert result.document["source_drift"] == {"added": 0, "changed": 1, "deleted": 0}


def test_migrating_again_after_drift_repairs_what_is_ours(tmp_path: Path) -> None:
    with workbench(tmp_path, points(42)) as bench:
        bench.move()
        equal = bench.state()
        for change in (_remove, _drop_an_entry, _count_wrong):
            change(bench)
        bench.run("reconcile")
        uploads = len(bench.uploads())

        repaired = bench.run("migrate")

        assert (repaired.document["round"], repaired.exit_code) == ("repair", 0)
        assert uploads + 1 == len(bench.uploads())
        assert equal == bench.state()
        assert bench.run("reconcile").exit_code == 0


@pytest.mark.slow
def test_migrating_a_complete_run_again_sends_nothing(tmp_path: Path) -> None:
    with workbench(tmp_path, points(42)) as bench:
        bench.move()
        uploads = bench.uploads()

        again = bench.run("migrate")

        assert uploads == bench.uploads()
    assert (again.exit_code, again.document["round"]) == (0, "none")


@pytest.mark.slow
@pytest.mark.fault("P03")
def test_a_target_that_is_not_empty_is_written_to_only_when_asked_for(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        _add(bench)
        bench.run("snapshot")

        refused = bench.run("migrate")
        asked = bench.run("migrate", "--into-non-empty")

        assert int(bench.entries()["_vector_count"]) == 21
        assert bench.run("reconcile").exit_code == 0
    assert [refused.exit_code, asked.exit_code] == [5, 0]


def test_rollback_restores_what_was_overwritten_and_removes_what_was_created(
    tmp_path: Path,
) -> None:
    """Values, metadata, namespace; KV value, metadata, expiry; the counter; foreign records."""
    with workbench(tmp_path, points(150)) as bench:
        store, namespace = bench.sandbox.store, bench.namespace_id
        old = np.full(DIMENSIONS, 0.5, np.float32)
        store.put_vector(INDEX, "file-0000_1", old, {"old": True, "n": 1.5}, "trial")
        store.put_vector(INDEX, "file-0002_0", old)
        _add(bench)
        store.put_kv(namespace, "file:file-0000", b'["x"]', {"by": "trial"}, 4_000_000_000)
        store.put_kv(namespace, "file:foreign", b"[]")
        store.put_kv(namespace, "_vector_count", b"3")
        before = bench.state()
        bench.run("snapshot")
        bench.run("migrate", "--into-non-empty")
        assert before != bench.state()

        preview = bench.run("rollback")
        assert before != bench.state()
        done = bench.run("rollback", "--execute")

        assert before == bench.state()
        sent = len(bench.sandbox.requests)
        again = bench.run("rollback", "--execute")
        assert sent == len(bench.sandbox.requests)
    assert (preview.document["vectors_deleted"], preview.document["vectors_restored"]) == (148, 2)
    assert (done.document["vectors_deleted"], done.document["vectors_restored"]) == (148, 2)
    assert [preview.exit_code, done.exit_code, again.exit_code] == [0, 0, 0]
    assert again.document["already_done"]


@pytest.mark.slow
@pytest.mark.fault("B03")
def test_what_somebody_else_changed_since_is_kept_and_listed(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        bench.move()
        _flip_a_bit(bench)
        bench.sandbox.store.put_kv(bench.namespace_id, "file:file-0000", b'["theirs"]')

        kept = bench.run("rollback", "--execute")

        assert {"file-0001_2"} == set(bench.stored())
        assert bench.entries()["file:file-0000"] == b'["theirs"]'
        told_again = bench.run("rollback", "--execute")
        listed = tmp_path / "mine.ids"
        listed.write_text("file-0001_2\nfile:file-0000\n")
        forced = bench.run("rollback", "--execute", "--force", str(listed))
        assert bench.stored() == {}
        assert bench.entries() == {}
    assert (kept.exit_code, told_again.exit_code, forced.exit_code) == (4, 4, 0)
    assert sorted(kept.document["conflicts"]) == ["file-0001_2", "file:file-0000"]


@pytest.mark.slow
def test_a_run_that_was_rolled_back_is_not_compared(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        bench.move()
        bench.run("rollback", "--execute")

        assert bench.run("reconcile").exit_code == 5


@pytest.mark.slow
def test_after_a_rollback_the_same_snapshot_moves_again(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        first = bench.move().document
        bench.run("rollback", "--execute")

        second = bench.run("migrate").document

        assert len(bench.stored()) == 20
        assert bench.run("reconcile").exit_code == 0
    assert first["run_id"] != second["run_id"]


@pytest.mark.slow
@pytest.mark.fault("B04")
def test_a_long_rollback_is_told_with_its_hours_and_a_better_way(tmp_path: Path) -> None:
    """900 vectors at one request in five minutes: plan and preview ask no store for it."""
    with workbench(tmp_path, points(900)) as bench:
        bench.move()
        del bench.environment["CLOUDFLARE_API_TOKEN"]
        slow = ("--requests-per-5min", "1")

        told = [
            bench.run("rollback", *slow, as_json=False).stdout,
            bench.run("plan", *slow, as_json=False).stdout,
        ]
        quick = bench.run("rollback", as_json=False).stdout

    assert "4 h" in told[0]
    texts = [" ".join(text.split()) for text in (*told, quick)]
    assert ["pointing the bindings back" in text for text in texts] == [True, True, False]


@pytest.mark.slow
@pytest.mark.fault("B05")
def test_what_the_new_side_took_since_stays_behind_only_when_agreed_to(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        bench.move()
        _add(bench)
        _add_an_entry(bench)
        moved = bench.state()

        refused = bench.run("rollback", "--execute")
        assert bench.state() == moved
        agreed = bench.run("rollback", "--execute", "--leave-later-writes")

        assert set(bench.stored()) == {"stray"}
        assert set(bench.entries()) == {"file:stray"}
    assert [refused.exit_code, agreed.exit_code] == [5, 0]
    assert "'stray', 'file:stray'" in refused.document["error"]["what"]
    named = Path(agreed.document["later_writes_file"]).read_text().splitlines()
    assert (agreed.document["later_writes"], named) == (2, ["stray", "file:stray"])


@pytest.mark.slow
@pytest.mark.fault("R10")
def test_a_killed_reconcile_is_no_report_and_goes_on_with_the_same_command(tmp_path: Path) -> None:
    with workbench(tmp_path, points(42)) as bench:
        bench.move()
        run = next(bench.directory.glob("2*/runs/*"))
        report = Path(bench.run("reconcile").document["report"])
        # As a kill before the report leaves it: everything read, nothing concluded.
        lines = (report.parent / "journal.jsonl").read_bytes().splitlines(keepends=True)
        (report.parent / "journal.jsonl").write_bytes(b"".join(lines[:-1]))
        report.unlink()
        asked = len(bench.sandbox.requests)

        status = bench.run("status").document
        resumed = bench.run("reconcile")
        fresh = bench.run("reconcile", "--fresh")

        paths = [request.path for request in bench.sandbox.requests[asked:]]
    assert (status["verdict"], status["next_argv"][:2]) == (None, ["q2v", "reconcile"])
    assert (resumed.exit_code, resumed.document["resumed"]) == (0, 1)
    assert (fresh.exit_code, fresh.document["resumed"]) == (0, 0)
    assert sum(path.endswith("/get_by_ids") for path in paths) == 3, "only the fresh one reads"
    assert sorted(path.name for path in (run / "reconcile").iterdir()) == ["001", "002"]


def _say_equal(report: Path) -> None:
    report.write_bytes(report.read_bytes().replace(b'"verdict":"drift"', b'"verdict":"equal"'))


def _name_another(report: Path) -> None:
    report.with_name("missing.ids").write_text("file-0000_0\n")


def _lose_the_list(report: Path) -> None:
    report.with_name("missing.ids").unlink()


def _flip_a_bit_of_targets(report: Path) -> None:
    path = report.parents[2] / "targets.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.slow
@pytest.mark.fault("F19")
@pytest.mark.parametrize(
    "tamper", [_say_equal, _name_another, _lose_the_list, _flip_a_bit_of_targets]
)
def test_a_changed_file_stops_a_repair_before_its_first_write(
    tmp_path: Path, tamper: object
) -> None:
    assert callable(tamper)
    with workbench(tmp_path, points(42)) as bench:
        bench.move()
        _remove(bench)
        tamper(Path(bench.run("reconcile").document["report"]))
        before, uploads = bench.state(), bench.uploads()

        refused = bench.run("migrate")

        assert (refused.exit_code, refused.document["error"]["what"][:1]) == (10, "/")
        assert (before, uploads) == (bench.state(), bench.uploads())


def _into_a_namespace(bench: Workbench) -> None:
    values, metadata = bench.stored()["file-0001_2"]
    bench.sandbox.store.put_vector(INDEX, "file-0001_2", values, metadata, "tenant")


def _with_metadata(bench: Workbench) -> None:
    value = bench.entries()["file:file-0001"]
    bench.sandbox.store.put_kv(bench.namespace_id, "file:file-0001", value, {"by": "others"})


@pytest.mark.slow
@pytest.mark.fault("F02", "B03")
@pytest.mark.parametrize(
    ("change", "where", "differs"),
    [
        (_into_a_namespace, "file-0001_2", "namespace"),
        (_with_metadata, "file:file-0001", "kv metadata"),
        (_let_an_entry_expire, "file:file-0001", "kv expiration"),
    ],
)
def test_what_another_writer_added_is_named_and_kept_until_it_is_forced(
    tmp_path: Path, change: object, where: str, differs: str
) -> None:
    assert callable(change)
    force = tmp_path / "overwrite.ids"
    force.write_text(f"{where}\n")
    with workbench(tmp_path, points(20)) as bench:
        bench.move()
        equal = bench.state()
        change(bench)
        theirs = bench.state()

        found = bench.run("reconcile")
        said = bench.run("reconcile", as_json=False).stdout
        kept = bench.run("migrate")
        assert bench.state() == theirs
        forced = bench.run("migrate", "--force", str(force))
        assert bench.state() == equal
        change(bench)
        undone = bench.run("rollback", "--execute")

        left = {*bench.stored(), *bench.entries()}
    assert (found.exit_code, found.document["differs"]) == (4, {where: [differs]})
    assert f"{where}: {differs}" in said
    assert (kept.exit_code, kept.document["kept"], kept.document["round"]) == (4, [where], "none")
    assert (forced.exit_code, forced.document["kept"]) == (0, [])
    assert (undone.exit_code, undone.document["conflicts"]) == (4, [where])
    assert undone.document["differs"] == {where: [differs]}
    assert left == {where}


@pytest.mark.slow
@pytest.mark.fault("B03")
def test_ids_to_force_that_name_nothing_of_the_run_are_said(tmp_path: Path) -> None:
    """A slip of the pen must not look like consent: the conflict stays, and the line says why."""
    force = tmp_path / "overwrite.ids"
    force.write_text("file-0001_2\nfile-0001-2\nfile:file-0001\nfile:nosuch\n_vector_count\n")
    with workbench(tmp_path, points(20)) as bench:
        bench.move()
        migrated = bench.run("migrate", "--force", str(force))
        said = [
            bench.run("migrate", "--force", str(force), as_json=False).stdout,
            bench.run("rollback", "--execute", "--force", str(force), as_json=False).stdout,
        ]
        undone = bench.run("rollback", "--execute", "--force", str(force))
        force.write_text("file-0001_2\n")
        without = bench.run("rollback", "--execute", "--force", str(force), as_json=False)

    for text in said:
        assert "warning: --force: 2 names are of nothing in this run and had no effect" in text
        assert "'file-0001-2', 'file:nosuch'" in text
    for result in (migrated, undone):
        assert result.document["force_unknown"] == ["file-0001-2", "file:nosuch"]
        assert result.document["force_unknown_count"] == 2
        assert result.exit_code == 0
    assert "--force" not in without.stdout
