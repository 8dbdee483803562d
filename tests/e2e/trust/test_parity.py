"""Search before and after: measured at the snapshot, and at the index that answers from now on."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from tests.harness.running.workbench import Workbench, points, unit_vectors, workbench

COUNT, DIMENSIONS, REDUCED, TOP = 240, 64, 32, 10
LIVE = ("parity", "--live", "--sample", "60")
SETTINGS = {"Q2V_DIMENSIONS": str(REDUCED), "Q2V_REDUCE": "matryoshka"}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """A collection that was moved at half of its dimensions, and found equal."""
    with workbench(tmp_path, points(COUNT, dimensions=DIMENSIONS), settings=SETTINGS) as bench:
        assert bench.move().exit_code == 0
        assert bench.run("reconcile").document["verdict"] == "equal"
        yield bench


def overlap_by_brute_force(width: int) -> float:
    """Mean share of each stored vector's first ten neighbours that the first values keep."""
    values = unit_vectors(COUNT, DIMENSIONS).astype(np.float64)

    def nearest(kept: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        lengths = np.linalg.norm(kept, axis=1)
        scores = kept @ kept.T / lengths / lengths[:, None]
        np.fill_diagonal(scores, -np.inf)
        return np.argsort(-scores, axis=1)[:, :TOP]

    pairs = zip(nearest(values), nearest(values[:, :width]), strict=True)
    return float(np.mean([len(set(one) & set(other)) / TOP for one, other in pairs]))


def upsert(bench: Workbench, vectors: dict[str, "np.ndarray[Any, Any]"]) -> None:
    """Write vectors past q2v, without their metadata."""
    lines = [
        orjson.dumps({"id": vector_id, "values": values.tolist()})
        for vector_id, values in vectors.items()
    ]
    answer = httpx.post(
        f"{bench.sandbox.base_url}/accounts/{bench.sandbox.account_id}"
        f"/vectorize/v2/indexes/{bench.index}/upsert",
        content=b"\n".join(lines),
        headers={
            "Authorization": f"Bearer {bench.environment['CLOUDFLARE_API_TOKEN']}",
            "Content-Type": "application/x-ndjson",
        },
        timeout=60,
    )
    assert answer.is_success, answer.text


@pytest.mark.slow
def test_a_plan_that_cuts_dimensions_names_the_command_that_measures_it(bench: Workbench) -> None:
    shown = bench.run("plan", as_json=False).stdout
    words = re.search(r"`q2v (parity --at 32 --min-overlap) SHARE --dir (\S+)`", shown)

    assert words is not None, shown
    assert words[2] == str(bench.directory)
    assert list(bench.run(*words[1].split(), "0.5").document["curve"]) == ["32"]


def judged(bench: Workbench) -> dict[str, object]:
    """The row `parity` of the gate."""
    rows = bench.run("gate", "--until", "2036-01-01T00:00+00:00").document["rows"]
    return next(row for row in rows if row["criterion"] == "parity")


def decisions(bench: Workbench) -> list[str]:
    """What the plan asks the operator to decide."""
    verdict = bench.run("plan").document["verdict"]
    return list(verdict["reasons"]) if verdict["word"] == "needs a decision" else []


@pytest.mark.slow
@pytest.mark.fault("Q04")
def test_a_cut_is_a_warning_of_the_plan_and_no_go_until_it_was_measured_and_judged(
    bench: Workbench,
) -> None:
    words = "nothing says how much of search the cut to 32 dimensions keeps"
    assert any(words in reason for reason in decisions(bench))
    assert (judged(bench)["verdict"], judged(bench)["do"] != "") == ("unknown", True)

    measured = bench.run("parity", "--at", "32").document
    kept = measured["curve"]["32"]["overlap"]["mean"]
    assert bench.run("plan").document["parity"]["overlap"] == kept
    assert any("so nothing is judged: `q2v parity --at 32" in reason for reason in decisions(bench))
    assert judged(bench)["verdict"] == "unknown"

    assert bench.run("parity", "--at", "32", "--min-overlap", "0.999").exit_code == 4
    assert any("choose more dimensions, or another share" in reason for reason in decisions(bench))
    assert judged(bench)["verdict"] == "fail"

    assert bench.run("parity", "--at", "32", "--min-overlap", "0.1").exit_code == 0
    assert decisions(bench) == []
    assert "note: exact search at 32" in bench.run("plan", "--details", as_json=False).stdout
    row = judged(bench)
    assert row["verdict"] == "pass"
    assert f"keeps {kept:.3f} of the first 10" in str(row["found"])


@pytest.mark.slow
@pytest.mark.fault("Q05")
def test_a_record_holds_what_was_printed_and_is_refused_when_a_byte_of_it_changes(
    bench: Workbench,
) -> None:
    printed = bench.run("parity", "--at", "32", "--min-overlap", "0.1").document
    file = Path(printed.pop("record"))
    held = orjson.loads(file.read_bytes())
    del held["sha256"]

    assert file.parent.parent.name == printed["snapshot_id"]
    assert held == printed
    file.write_bytes(file.read_bytes().replace(b'"overlap_min":0.1', b'"overlap_min":0.0'))
    assert bench.run("plan").exit_code == 10
    assert judged(bench)["verdict"] == "fail"


@pytest.mark.slow
@pytest.mark.fault("Q01")
def test_an_index_that_failed_is_no_go_until_the_run_writes_again(bench: Workbench) -> None:
    bench.run("parity", "--at", "32", "--min-overlap", "0.1")
    held = bench.stored()
    ids = sorted(held)
    shuffled = [*ids[COUNT // 2 :], *ids[: COUNT // 2]]
    upsert(bench, {one: held[other][0] for one, other in zip(ids, shuffled, strict=True)})

    live = bench.run(*LIVE).document
    assert Path(live["record"]).parent.parent.name == live["run_id"]
    assert judged(bench)["verdict"] == "fail"

    assert bench.run("reconcile").document["verdict"] == "drift"
    assert bench.run("migrate").exit_code == 0
    assert judged(bench)["verdict"] == "pass"


@pytest.mark.slow
def test_the_curve_is_that_of_a_computation_by_brute_force(bench: Workbench) -> None:
    measured = bench.run("parity", "--at", "16", "--at", "32", "--at", "64").document

    assert measured["verdict"] == "measured"
    assert list(measured["curve"]) == ["16", "32"]
    for width, kept in measured["curve"].items():
        assert kept["queries"] == COUNT
        assert kept["overlap"]["mean"] == pytest.approx(overlap_by_brute_force(int(width)))
        assert kept["overlap"]["low"] <= kept["overlap"]["mean"] <= kept["overlap"]["high"]
    worst = measured["curve"]["16"]["worst_files"][0]
    assert worst["name"].startswith("file-")


@pytest.mark.slow
def test_an_index_with_the_vectors_of_the_run_answers_as_exact_search_at_its_width(
    bench: Workbench,
) -> None:
    requests = len(bench.sandbox.requests)
    passed = bench.run(*LIVE)

    assert passed.exit_code == 0
    assert (passed.document["verdict"], passed.document["index_width"]) == ("pass", REDUCED)
    assert passed.document["index"]["overlap"]["mean"] == 1
    whole, curve = passed.document["whole"], passed.document["curve"]
    assert whole["overlap"]["mean"] == curve[str(REDUCED)]["overlap"]["mean"] < 1
    sent = bench.sandbox.requests[requests:]
    assert len(sent) == 61
    assert not [one for one in sent if one.path.endswith(("/upsert", "/delete_by_ids", "/bulk"))]


@pytest.mark.slow
@pytest.mark.fault("Q01")
def test_an_index_whose_vectors_stand_under_other_ids_fails(bench: Workbench) -> None:
    held = bench.stored()
    ids = sorted(held)
    shuffled = [*ids[COUNT // 2 :], *ids[: COUNT // 2]]
    upsert(bench, {one: held[other][0] for one, other in zip(ids, shuffled, strict=True)})

    failed = bench.run(*LIVE)

    assert (failed.exit_code, failed.document["verdict"]) == (4, "fail")
    assert failed.document["index"]["overlap"]["mean"] < 0.5
    assert len(failed.document["index"]["worst_queries"]) == 5


@pytest.mark.slow
@pytest.mark.fault("Q02")
def test_an_index_that_lost_a_hundredth_is_not_judged(bench: Workbench) -> None:
    lost = sorted(bench.stored())[: COUNT // 100]
    path = f"vectorize/v2/indexes/{bench.index}/delete_by_ids"
    bench.ask_target(path, {"ids": lost})

    unknown = bench.run(*LIVE)

    assert (unknown.exit_code, unknown.document["verdict"]) == (13, "indeterminate")
    assert "238 vectors, the newest reconcile listed 240" in unknown.document["why"]
    assert not unknown.document["curve"]
    assert bench.run("reconcile").exit_code == 4
    assert "the newest reconcile says drift" in bench.run(*LIVE).document["why"]


@pytest.mark.slow
@pytest.mark.fault("Q02")
def test_without_a_reconcile_the_index_is_not_judged(tmp_path: Path) -> None:
    with workbench(tmp_path, points(40)) as bench:
        assert bench.move().exit_code == 0
        unknown = bench.run(*LIVE)

    assert unknown.exit_code == 13
    assert "run `q2v reconcile" in unknown.document["why"]


@pytest.mark.slow
@pytest.mark.fault("Q03")
def test_without_a_query_nothing_is_judged(bench: Workbench, tmp_path: Path) -> None:
    file = tmp_path / "queries.npy"
    np.save(file, np.empty((0, DIMENSIONS), dtype=np.float32))

    for way in (LIVE, ("parity", "--min-overlap", "0", "--at", "8")):
        unknown = bench.run(*way, "--queries", str(file))
        assert (unknown.exit_code, unknown.document["verdict"]) == (13, "indeterminate")


@pytest.mark.slow
def test_queries_from_a_file_are_named_by_their_place(bench: Workbench, tmp_path: Path) -> None:
    file = tmp_path / "queries.npy"
    np.save(file, np.random.default_rng(3).standard_normal((20, DIMENSIONS)))

    judged = bench.run("parity", "--queries", str(file), "--at", "4", "--min-overlap", "0.9")

    assert (judged.exit_code, judged.document["verdict"]) == (4, "fail")
    kept = judged.document["curve"]["4"]
    assert kept["queries"] == 20
    assert kept["worst_queries"][0]["name"].startswith("query ")
    assert kept["worst_files"] == []


@pytest.mark.fault("Q03")
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"[[1, 2]]", "no file of NumPy"),
        (np.ones((2, DIMENSIONS), dtype=np.int32), "no matrix of floating-point numbers"),
        (np.ones(DIMENSIONS, dtype=np.float32), "no matrix of floating-point numbers"),
        (np.ones((2, 8), dtype=np.float32), "2 vectors of 8 values"),
        (np.zeros((2, DIMENSIONS), dtype=np.float32), "nothing but zeros in vector 1"),
        (np.full((2, DIMENSIONS), 1e300), "NaN, infinity"),
        (np.array([[object()]]), "no file of NumPy"),
        (None, "no such file"),
    ],
    ids=[
        "json",
        "integers",
        "flat",
        "other width",
        "zeros",
        "beyond float32",
        "pickled objects",
        "missing",
    ],
)
def test_a_file_that_holds_no_queries_is_refused(
    tmp_path: Path, content: "bytes | np.ndarray[Any, Any] | None", found: str
) -> None:
    file = tmp_path / "queries.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        np.save(file, content, allow_pickle=True)
    with workbench(tmp_path, points(8), provision=False) as bench:
        assert bench.run("snapshot").exit_code == 0
        refused = bench.run("parity", "--queries", str(file))

    assert refused.exit_code == 2
    assert found in refused.document["error"]["what"]


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (("--at", "65"), "expected one of 1 to 64"),
        (("--min-overlap", "0.5"), "found no width that it is about"),
    ],
)
def test_flags_that_do_not_fit_are_refused(
    tmp_path: Path, flags: tuple[str, ...], found: str
) -> None:
    with workbench(tmp_path, points(8), provision=False) as bench:
        assert bench.run("snapshot").exit_code == 0
        refused = bench.run("parity", *flags)

    assert refused.exit_code == 2
    assert found in refused.document["error"]["what"]


def test_people_see_a_line_for_each_width(bench: Workbench) -> None:
    shown = bench.run("parity", "--sample", "30", as_json=False).stdout

    assert re.search(
        r"^32 dimensions +overlap@10 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]", shown, re.MULTILINE
    )
    assert "30 queries; in brackets the 95 % interval of the mean" in shown
    assert "worst file: file-" in shown
