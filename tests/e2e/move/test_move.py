"""A collection moves, is proven equal, and nothing is left to belief."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from migrate.model.digest import canonical_metadata, digest_vectors
from migrate.model.records import DenseColumn, MultiColumn, SparseColumn, VectorId
from migrate.snapshot.folder import Snapshot
from migrate.storage.local_folder import LocalFolder
from tests.harness.running.target import DIMENSIONS, INDEX
from tests.harness.running.workbench import chunk, points, unit_vectors, workbench
from tests.servers.qdrant_points import SparseValues, StoredCollection, StoredPoint
from tests.servers.qdrant_rest import rest_server


def test_every_point_arrives_with_its_bits_and_its_payload(tmp_path: Path) -> None:
    """float32 survives Qdrant -> Parquet -> NDJSON -> sandbox, bit for bit."""
    stored = points(150)
    with workbench(tmp_path, stored) as bench:
        report = bench.move().document

        found = bench.stored()
        entries = bench.entries()
    vectors = unit_vectors(150)
    assert {f"file-{n // 7:04d}_{n % 7}" for n in range(150)} == set(found)
    for number, point in enumerate(stored):
        values, metadata = found[f"file-{number // 7:04d}_{number % 7}"]
        assert vectors[number].tobytes() == values.tobytes()
        assert point.payload == metadata
    assert 150 == report["acknowledged"] == report["counter"] == int(entries["_vector_count"])
    assert [f"file-0000_{n}" for n in range(7)] == json.loads(entries["file:file-0000"])
    assert 22 == report["kv_entries"] == len(entries) - 1


def test_reconcile_of_an_undisturbed_move_says_equal(tmp_path: Path) -> None:
    with workbench(tmp_path, points(60)) as bench:
        bench.move()

        result = bench.run("reconcile")

    document = result.document
    assert result.exit_code == 0
    assert document["verdict"] == "equal"
    assert (document["coverage"]) == {
        "ids": "full",
        "contents": "full",
        "checked": 60,
        "bound": 0.0,
        "seed": None,
        "read_by": {"rest": 60, "verifier": 0},
        "verifier": None,
        "fell_back": None,
    }
    assert document["counts"] == {
        "source": 60,
        "snapshot": 60,
        "expected": 60,
        "vector_index": 60,
        "kv_ids": 60,
        "kv_counter": 60,
    }
    assert not any(document["drift"].values())
    assert Path(document["report"]).is_file()
    assert Path(document["html"]).is_file()
    assert Path(document["rollback_manifest"]).is_file()


def test_a_sampled_reconcile_says_so_and_states_its_bound(tmp_path: Path) -> None:
    settings = {"Q2V_LIMITS_CONTENT_FULL_MAX": "10", "Q2V_LIMITS_CONTENT_SAMPLE": "30"}
    with workbench(tmp_path, points(60), settings=settings) as bench:
        bench.move()

        result = bench.run("reconcile", "--seed", "5")

    coverage = result.document["coverage"]
    assert (
        coverage["contents"],
        coverage["checked"],
        coverage["seed"],
        coverage["bound"],
    ) == ("sampled", 30, 5, 0.1)
    assert result.document["verdict"] == "equal"


def test_the_source_is_never_written_to(tmp_path: Path) -> None:
    with workbench(tmp_path, points(30)) as bench:
        bench.move()
        bench.run("reconcile")
        bench.run("rollback", "--execute")

        assert bench.collection.writes == []


def test_every_upload_asks_for_errors_and_stays_within_its_limits(tmp_path: Path) -> None:
    """Uploads are cut by bytes and by count, whichever comes first."""
    settings = {"Q2V_LIMITS_BODY_BYTES": "20000", "Q2V_LIMITS_VECTORS_PER_UPLOAD": "25"}
    with workbench(tmp_path, points(200), settings=settings) as bench:
        bench.move()

        uploads = [r for r in bench.sandbox.requests if r.path.endswith("/upsert")]
        expected = 200
        assert expected == len(bench.stored())
    assert all("unparsable-behavior=error" in request.query for request in uploads)
    assert all(request.body_bytes <= 20_000 for request in uploads)
    assert len(uploads) > 200 / 25


@pytest.mark.slow
def test_five_thousand_vectors_of_full_width_never_make_a_body_over_the_limit(
    tmp_path: Path,
) -> None:
    """5,000 x 1,536 with 1.3 kB of metadata are 103 MB of text: more than one upload takes."""
    vectors = unit_vectors(5_000, 1_536)
    stored = [
        StoredPoint(
            id=n,
            vectors={"": vectors[n]},
            payload=chunk(f"file-{n // 50:03d}", n % 50, more="x" * 1_000),
        )
        for n in range(5_000)
    ]
    settings = {"Q2V_LIMITS_BODY_BYTES": "95000000", "Q2V_LIMITS_VECTORS_PER_UPLOAD": "5000"}
    with workbench(tmp_path, stored, dimensions=1_536, settings=settings) as bench:
        report = bench.move()

        uploads = [r for r in bench.sandbox.requests if r.path.endswith("/upsert")]
    assert report.exit_code == 0, report.stderr
    assert [request.status for request in uploads] == [200, 200]
    assert all(request.body_bytes <= 95_000_000 for request in uploads)


def test_the_reduction_keeps_the_first_values_and_renormalises_in_double_precision(
    tmp_path: Path,
) -> None:
    settings = {"Q2V_DIMENSIONS": "32", "Q2V_REDUCE": "matryoshka"}
    with workbench(tmp_path, points(20), settings=settings) as bench:
        bench.move()

        found = bench.stored()["file-0000_3"][0]
    kept = unit_vectors(20)[3, :32].astype(np.float64)
    assert (kept / np.sqrt((kept * kept).sum())).astype(np.float32).tobytes() == found.tobytes()


def test_duckdb_reads_a_part_without_knowing_anything_about_us(tmp_path: Path) -> None:
    with workbench(tmp_path, points(25)) as bench:
        bench.run("snapshot")
        (part,) = bench.directory.glob("*/parts/*.parquet")

    rows = (
        duckdb.read_parquet(str(part))
        .project("point_id, point_id_type, len(vector), payload ->> 'file_id'")
        .fetchall()
    )

    assert rows[0] == ("0", "uint64", DIMENSIONS, "file-0000")
    assert len(rows) == 25


def test_a_snapshot_keeps_every_kind_of_vector_and_says_what_is_absent(tmp_path: Path) -> None:
    """Dense, multi and sparse, present, absent and empty: read back from Parquet as served."""
    params = {
        "a": {"size": 2, "distance": "Dot"},
        "m": {"size": 2, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}},
    }
    stored = [
        StoredPoint(
            1, {"a": [1.5, -0.0], "m": [[1, 2], [3, 4]], "s": SparseValues([3, 9], [1, 2])}
        ),
        StoredPoint(2, {"s": SparseValues([], [])}, {"k": None}),
        StoredPoint("00000000-0000-0000-0000-00000000000a", {"a": [2, 3]}, {"n": 2**64 - 1}),
    ]
    collection = StoredCollection(points=stored, vectors=dict(params), sparse_vectors={"s": {}})
    with workbench(tmp_path, []) as bench, rest_server(collection) as server:
        bench.environment.update(QDRANT_URL=server.url, QDRANT_API_KEY="")
        taken = bench.run("snapshot")
        verified = bench.run("verify")
        (rows,) = Snapshot(LocalFolder(Path(taken.document["path"]))).read(
            with_vectors=("a", "m", "s")
        )

    dense, multi, sparse = (rows.page.vectors[name] for name in ("a", "m", "s"))
    assert isinstance(dense, DenseColumn)
    assert isinstance(multi, MultiColumn)
    assert isinstance(sparse, SparseColumn)
    assert dense.present.tolist() == [True, False, True]
    assert np.signbit(dense.values[0, 1])
    assert (multi.rows[0].tolist() if multi.rows[0] is not None else None) == [[1, 2], [3, 4]]
    assert multi.rows[1:] == (None, None)
    pairs = [None if pair is None else (pair[0].tolist(), pair[1].tolist()) for pair in sparse.rows]
    assert pairs == [([3, 9], [1, 2]), ([], []), None]
    assert rows.page.payloads == (b"{}", b'{"k":null}', b'{"n":18446744073709551615}')
    assert (taken.exit_code, verified.exit_code) == (0, 0)
    assert [i.text for i in rows.page.ids] == ["1", "2", "00000000-0000-0000-0000-00000000000a"]


@pytest.mark.fault("P05")
def test_an_empty_collection_moves_only_when_asked_for(tmp_path: Path) -> None:
    with workbench(tmp_path, []) as bench:
        refused = bench.run("snapshot")
        assert list(bench.directory.glob("2*")) == [], "a refused snapshot leaves nothing behind"
        taken = bench.run("snapshot", "--allow-empty")
        moved = bench.run("migrate", "--allow-empty")
        compared = bench.run("reconcile")

        assert bench.entries()["_vector_count"] == b"0"
    assert [one.exit_code for one in (refused, taken, moved, compared)] == [5, 0, 0, 0]


def test_a_dry_run_writes_nothing_to_the_target(tmp_path: Path) -> None:
    with workbench(tmp_path, points(10)) as bench:
        bench.run("snapshot")
        before = bench.state()

        result = bench.run("migrate", "--dry-run")

        assert before == bench.state()
        assert bench.uploads() == []
        assert not [path for path in bench.directory.rglob("*") if path.parent.name == "runs"]
    assert (result.exit_code, result.document["dry_run"]) == (0, True)


@pytest.mark.slow
@pytest.mark.parametrize("width", ["1", "32"])
def test_the_plans_digests_are_those_of_what_the_target_holds(tmp_path: Path, width: str) -> None:
    """Mapped once: what targets.parquet says is what can be read back, however wide one reads."""
    settings = {"Q2V_LIMITS_READS_IN_FLIGHT": width}
    with workbench(tmp_path, points(90), settings=settings) as bench:
        bench.move()
        found = bench.stored()
        compared = bench.run("reconcile")
        (path,) = bench.directory.glob("2*/runs/*/targets.parquet")
        rows = [tuple(row.values()) for row in pq.read_table(path).to_pylist()]
        undone = bench.run("rollback", "--execute")

        assert bench.stored() == {}
    assert (compared.exit_code, undone.exit_code) == (0, 0)
    assert [row for row, *_ in rows] == list(range(90))
    assert {vector_id: digest for _, vector_id, _, _, digest in rows} == {
        vector_id: digest_vectors([VectorId(vector_id)], values.reshape(1, -1), [metadata])[0]
        for vector_id, (values, fields) in found.items()
        for metadata in [canonical_metadata(fields)]
    }
    assert {(file, position) for _, _, file, position, _ in rows} == {
        (f"file-{number // 7:04d}", number % 7) for number in range(90)
    }


def test_plan_tells_the_figures_and_every_setting_with_its_origin(tmp_path: Path) -> None:
    with workbench(tmp_path, points(50)) as bench:
        before = bench.state()

        result = bench.run("plan")

        assert before == bench.state()
    document = result.document
    assert result.exit_code == 0
    assert (document["points"], document["vectors"], document["files"]) == (50, 50, 8)
    origins = {row["key"]: row["origin"] for row in document["settings"]}
    assert origins["source.url"] == "environment QDRANT_URL"
    assert origins["mapping.id_template"] == "default"
    assert document["target"]["index"]["name"] == INDEX


@pytest.mark.fault("F26")
def test_plan_says_how_the_source_is_read(tmp_path: Path) -> None:
    with workbench(tmp_path, points(5)) as bench:
        plain = bench.run("plan").document["reading"]
        bench.environment["Q2V_SOURCE_COMPRESSION"] = "gzip"
        packed = bench.run("plan").document["reading"]

    assert plain == {"transport": "rest", "compression": "identity"}
    assert packed == {"transport": "rest", "compression": "gzip"}


def test_plan_looks_at_a_target_that_is_not_provisioned_yet(tmp_path: Path) -> None:
    with workbench(tmp_path, points(10), provision=False) as bench:
        result = bench.run("plan")

    target = result.document["target"]
    assert result.exit_code == 0
    assert target["index"] is None
    assert target["kv_namespace_id"] is None


def test_status_names_the_next_command_at_every_stage(tmp_path: Path) -> None:
    with workbench(tmp_path, points(10)) as bench:
        steps = [bench.run("status").document["next"]]
        for words in (["snapshot"], ["migrate"], ["reconcile"], ["rollback", "--execute"]):
            bench.run(*words)
            steps.append(bench.run("status").document["next"])

    here = f"--dir {bench.directory}"
    assert steps == [
        f"q2v snapshot {here}",
        f"q2v migrate {here}",
        f"q2v reconcile {here}",
        f"run `q2v gate --until TIME {here}`, TIME being the end of the window: it shows what "
        "speaks for the cutover and what does not (RUNBOOK: gate)",
        f"`q2v migrate {here}` moves the snapshot again, as a new run",
    ]
