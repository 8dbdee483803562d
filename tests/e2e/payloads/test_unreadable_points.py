"""A point that the source cannot give: named, left out on request, carried through to the end."""

import json
from pathlib import Path

import pytest

from migrate.snapshot.folder import Snapshot
from migrate.snapshot.manifest import SNAPSHOT_FORMAT, UNREADABLE_FORMAT
from migrate.storage.local_folder import LocalFolder
from tests.harness.paths import path_of
from tests.harness.running.workbench import Workbench, chunk, points, unit_vectors, workbench
from tests.servers.both_protocols import both_protocols
from tests.servers.qdrant_grpc import grpc_server
from tests.servers.qdrant_points import StoredPoint, holding

pytestmark = pytest.mark.usefixtures("short_pauses")

COUNT = 40
POISONED = 17
CASES = Path(__file__).parents[2] / "cases" / "23-payload-that-json-libraries-refuse"
# Parts of 1,000 points, and readers for as little as a test reads.
SEVERAL_READERS = (
    "import migrate.workers.processes as p; p.WORKER_BYTES_MIN = 1; "
    "import migrate.snapshot.begun.state as s; s.PART_BYTES = 1; "
    "import q2v.__main__ as q; q.run()"
)


def sealed(bench: Workbench) -> Snapshot:
    return Snapshot(
        LocalFolder(max(path.parent for path in bench.directory.glob("*/manifest.json")))
    )


def parts(bench: Workbench) -> list[bytes]:
    return [path.read_bytes() for path in sorted(path_of(sealed(bench).folder).glob("parts/*"))]


@pytest.mark.slow
@pytest.mark.fault("F06")
def test_an_unreadable_point_stops_the_snapshot_and_is_left_out_only_on_request(
    tmp_path: Path,
) -> None:
    with workbench(tmp_path, points(COUNT)) as bench:
        bench.collection.breaks = holding(POISONED)
        refused = bench.run("snapshot")
        assert not list(bench.directory.glob("*/manifest.json"))
        taken = bench.run("snapshot", "--leave-unreadable")
        verified = bench.run("verify")
        again = bench.run("snapshot")

    assert (refused.exit_code, taken.exit_code, again.exit_code) == (5, 3, 5)
    assert f"point {POISONED} cannot be read" in refused.document["error"]["what"]
    assert "q2v snapshot --leave-unreadable" in refused.document["error"]["next"]
    document = taken.document
    assert document["resumed"]
    assert (document["points"], document["unreadable"]) == (COUNT, 1)
    assert document["unreadable_points"] == [str(POISONED)]
    assert document["exit_code"] == 3
    assert (verified.exit_code, verified.document["unreadable"]) == (0, 1)


@pytest.mark.slow
@pytest.mark.fault("F06")
def test_a_point_left_out_is_quarantined_by_every_command_and_never_simply_equal(
    tmp_path: Path,
) -> None:
    with workbench(tmp_path, points(COUNT)) as bench:
        bench.collection.breaks = holding(POISONED)
        planned = bench.run("plan")
        bench.run("snapshot", "--leave-unreadable")
        moved = bench.run("migrate")
        compared = bench.run("reconcile")
        status = bench.run("status")
        waived = bench.run("migrate", "--waive", "unreadable")
        compared_again = bench.run("reconcile")

        assert len(bench.stored()) == COUNT - 1
    for result in (planned, moved):
        reasons = result.document.get("quarantined_reasons") or result.document["quarantined"]
        assert reasons == {"unreadable": 1}
    # Each source point is in exactly one state, and the counts sum to the total.
    document = moved.document
    assert document["acknowledged"] + document["quarantined"] == document["points"] == COUNT
    assert [moved.exit_code, compared.exit_code, waived.exit_code] == [3, 3, 0]
    assert compared.document["verdict"] == "equal"
    assert "left out: 1 point that the source could not return" in compared.document["why"]
    assert compared.document["quarantined"] == {"unreadable": 1}
    assert status.document["quarantined"] == {"unreadable": 1}
    assert (compared_again.exit_code, compared_again.document["verdict"]) == (0, "equal")
    assert "could not return" in compared_again.document["why"]


@pytest.mark.slow
@pytest.mark.fault("F06", "R07")
def test_a_point_that_became_unreadable_or_readable_since_is_told_by_reconcile(
    tmp_path: Path,
) -> None:
    with workbench(tmp_path, points(COUNT)) as bench:
        bench.collection.breaks = holding(POISONED)
        bench.run("snapshot", "--leave-unreadable")
        bench.run("migrate")
        bench.collection.breaks = holding(POISONED, 3)
        lost = bench.run("reconcile")
        bench.collection.breaks = holding()
        found = bench.run("reconcile")

    assert (lost.exit_code, lost.document["verdict"]) == (13, "indeterminate")
    assert "did not return 1 point that the snapshot holds, first 3" in lost.document["why"]
    assert lost.document["unread"] == ["source"]
    names = Path(lost.document["files"]["source_unreadable"]).read_text(encoding="utf-8")
    assert names.splitlines() == ["3"]
    assert (found.exit_code, found.document["verdict"]) == (4, "drift")
    assert found.document["source_drift"] == {"added": 0, "changed": 1, "deleted": 0}


@pytest.mark.slow
@pytest.mark.fault("F06", "S09")
def test_a_point_that_can_be_read_the_second_time_is_not_left_out(tmp_path: Path) -> None:
    """It failed for the first reading only: the second one writes its part again, whole."""
    with workbench(tmp_path, points(COUNT)) as bench:
        whole = bench.run("snapshot")
        expected = parts(bench)
    with workbench(tmp_path / "again", points(COUNT)) as bench:
        bench.collection.breaks = holding(POISONED)
        failures = iter(range(12))  # as many as it takes to find the point, and no more
        breaks = bench.collection.breaks
        bench.collection.breaks = lambda page: breaks(page) and next(failures, None) is not None
        taken = bench.run("snapshot", "--leave-unreadable")

        assert parts(bench) == expected
        assert sealed(bench).manifest.format == SNAPSHOT_FORMAT
    assert (whole.exit_code, taken.exit_code) == (0, 0)
    assert taken.document["unreadable"] == 0
    assert taken.document["content_root"] == whole.document["content_root"]


@pytest.mark.slow
@pytest.mark.timeout(600)  # three snapshots by processes of their own
@pytest.mark.fault("F06", "F23", "F27", "S09")
def test_the_same_bytes_whatever_the_protocol_the_pages_and_the_readers(tmp_path: Path) -> None:
    """Points left out, payloads kept as text and points read over REST among 1,200 plain ones."""
    roots = set()
    for number, (transport, readers, page) in enumerate(
        [("rest", 1, 1000), ("rest", 2, 77), ("grpc", 2, 250)]
    ):
        with workbench(tmp_path / str(number), odd_points()) as bench:
            bench.collection.breaks = holding(1100, 1101)
            with (
                grpc_server(bench.collection, api_key=bench.source.api_key) as grpc,
                both_protocols(bench.source.port, grpc.port) as port,
            ):
                bench.environment.update(
                    QDRANT_URL=f"http://127.0.0.1:{port}",
                    Q2V_TRANSPORT=transport,
                    Q2V_SNAPSHOT_PAGE_POINTS=str(page),
                )
                document = take(bench, readers)
            manifest = sealed(bench).manifest
            assert manifest.format == UNREADABLE_FORMAT
            assert manifest.unreadable == ("1100", "1101")
            roots.add((document["content_root"], *parts(bench)))

    assert len(roots) == 1


def odd_points() -> list[StoredPoint]:
    stored = points(1200)
    vectors = unit_vectors(1200)
    for name, number in (("long-integer", 10), ("deep-990", 500), ("deep-20000", 1050)):
        text = (CASES / f"{name}.json").read_text(encoding="utf-8")
        # Over gRPC these cannot be sent; a point that nests too deep for it stands for them.
        deep = json.loads('{"a":' * 200 + "1" + "}" * 200)
        stored[number] = StoredPoint(number, {"": vectors[number].tolist()}, deep, text)
    for number in (5, 999, 1199):
        payload = chunk("float", number, weight=1.5e19)
        stored[number] = StoredPoint(number, {"": vectors[number].tolist()}, payload)
    return stored


def take(bench: Workbench, readers: int) -> dict[str, object]:
    words = ["snapshot", "--leave-unreadable", "--readers", str(readers)]
    done = bench.run_process(*words, program=SEVERAL_READERS)
    assert done.exit_code == 3, done.stderr + done.stdout
    return done.document


@pytest.mark.slow
@pytest.mark.fault("F23")
def test_a_payload_that_libraries_refuse_is_quarantined_and_the_rest_moves(tmp_path: Path) -> None:
    stored = points(COUNT)
    text = (CASES / "long-integer.json").read_text(encoding="utf-8")
    stored[POISONED] = StoredPoint(POISONED, stored[POISONED].vectors, {}, text)
    with workbench(tmp_path, stored) as bench:
        taken = bench.run("snapshot")
        moved = bench.run("migrate")
        compared = bench.run("reconcile")

        assert len(bench.stored()) == COUNT - 1
    assert (taken.exit_code, moved.exit_code, compared.exit_code) == (0, 3, 3)
    assert moved.document["quarantined_reasons"] == {"unrepresentable": 1}
    assert compared.document["verdict"] == "equal"


@pytest.mark.slow
@pytest.mark.fault("F06", "S07")
def test_a_damaged_part_with_a_point_left_out_is_repaired(tmp_path: Path) -> None:
    with workbench(tmp_path, points(COUNT)) as bench:
        bench.collection.breaks = holding(POISONED)
        bench.run("snapshot", "--leave-unreadable")
        (part,) = path_of(sealed(bench).folder).glob("parts/*")
        content = part.read_bytes()
        part.write_bytes(content[:-1])

        result = bench.run("snapshot", "--repair-part", "0")

        assert part.read_bytes() == content
    assert result.exit_code == 0
