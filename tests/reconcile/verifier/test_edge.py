"""Contents compared through the real verifier in the real workerd, in front of the sandbox."""

import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from migrate.clock import SystemClock
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.cloudflare.verifier import client, protocol
from migrate.errors import ExitCode, RemoteUnavailableError
from migrate.model.hmac_key import SealKey
from migrate.model.records import VectorId
from reconcile.scan import by_verifier
from tests.harness.network import LOOPBACK
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import Workbench, points, workbench
from tests.harness.running.workerd import RunningWorker
from tests.harness.running.workspace import Result
from tests.reconcile.verifier.edge import KEY, running_verifier

POINTS = 130
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A finished move; each test puts back what it changes."""
    with workbench(tmp_path_factory.mktemp("edge"), points(POINTS)) as made:
        moved = made.move()
        assert moved.exit_code == ExitCode.DONE, moved.stderr
        yield made


@pytest.fixture(scope="module")
def edge(bench: Workbench) -> Iterator[RunningWorker]:
    """The verifier."""
    with running_verifier(bench) as running:
        yield running


def coverage_of(result: Result) -> dict[str, Any]:
    coverage: dict[str, Any] = result.document["coverage"]
    return coverage


Plant = Callable[[Workbench], dict[str, list[str]]]  # returns what the report has to name


def put(
    bench: Workbench, vector_id: str, values: Any = None, metadata: dict[str, Any] | None = None
) -> None:
    """Change values or metadata of a vector behind the API."""
    held_values, held_metadata = bench.stored()[vector_id]
    bench.sandbox.store.put_vector(
        bench.index,
        vector_id,
        held_values if values is None else values,
        held_metadata if metadata is None else metadata,
    )


def one_ulp(bench: Workbench) -> dict[str, list[str]]:
    values = bench.stored()["file-0003_2"][0].copy()
    values.view(np.uint32)[5] ^= np.uint32(1)
    put(bench, "file-0003_2", values)
    return {"mismatched": ["file-0003_2"]}


def one_metadata_byte(bench: Workbench) -> dict[str, list[str]]:
    metadata = dict(bench.stored()["file-0000_0"][1] or {})
    metadata["file_name"] = str(metadata["file_name"]).replace("txt", "tyt")
    put(bench, "file-0000_0", metadata=metadata)
    return {"mismatched": ["file-0000_0"]}


def one_normal_form(bench: Workbench) -> dict[str, list[str]]:
    metadata = dict(bench.stored()["file-0002_3"][1] or {})
    metadata["text"] = str(metadata["text"]).replace("\u00f6", "o\u0308")
    assert metadata != bench.stored()["file-0002_3"][1]
    put(bench, "file-0002_3", metadata=metadata)
    return {"mismatched": ["file-0002_3"]}


def two_swapped(bench: Workbench) -> dict[str, list[str]]:
    held = {one: bench.stored()[one] for one in ("file-0001_1", "file-0005_4")}
    for to, at in zip(held, reversed(held), strict=True):
        put(bench, to, *held[at])
    return {"mismatched": list(held)}


def two_values_swapped(bench: Workbench) -> dict[str, list[str]]:
    held = {one: bench.stored()[one] for one in ("file-0001_2", "file-0005_3")}
    for to, at in zip(held, reversed(held), strict=True):
        put(bench, to, held[at][0])
    return {"mismatched": list(held)}


def missing(bench: Workbench) -> dict[str, list[str]]:
    bench.sandbox.store.remove_vector(bench.index, "file-0018_3")
    return {"missing": ["file-0018_3"]}


def everything(bench: Workbench) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for plant in (one_ulp, one_metadata_byte, one_normal_form, two_swapped, missing):
        for kind, ids in plant(bench).items():
            found[kind] = sorted(found.get(kind, []) + ids)
    return found


@contextmanager
def put_back(bench: Workbench) -> Iterator[None]:
    """The index is as before at the end."""
    kept = bench.stored()
    try:
        yield
    finally:
        for vector_id, (values, metadata) in kept.items():
            bench.sandbox.store.put_vector(bench.index, vector_id, values, metadata)


def named(result: Result) -> dict[str, list[str]]:
    """The ids of every class of the vector index that has some."""
    files = result.document["files"]
    classes = ("missing", "extra", "mismatched", "unreadable", "unlisted")
    found = {name: sorted(Path(files[name]).read_text().splitlines()) for name in classes}
    return {name: ids for name, ids in found.items() if ids}


def test_a_clean_target_is_equal_and_the_verifier_read_all(
    bench: Workbench, edge: RunningWorker
) -> None:
    result = bench.run("reconcile")

    assert result.exit_code == ExitCode.DONE, result.stderr
    assert coverage_of(result)["read_by"] == {"rest": 0, "verifier": POINTS}
    assert coverage_of(result)["verifier"] == edge.url
    assert coverage_of(result)["fell_back"] is None
    shown = bench.run("reconcile", as_json=False)
    assert f"the verifier at {edge.url} {POINTS}, REST 0" in shown.stdout
    page = Path(result.document["html"]).read_text()
    assert f'the verifier at <span class="code">{edge.url}</span> {POINTS}, REST 0' in page


@pytest.mark.fault("H03")
@pytest.mark.parametrize(
    "plant",
    [
        one_ulp,
        one_metadata_byte,
        one_normal_form,
        two_swapped,
        two_values_swapped,
        missing,
        everything,
    ],
)
def test_a_planted_difference_is_named_exactly(
    bench: Workbench, edge: RunningWorker, plant: Plant
) -> None:
    with put_back(bench):
        expected = plant(bench)
        result = bench.run("reconcile")

    assert result.exit_code == ExitCode.DRIFT, result.stderr
    assert named(result) == expected
    apart = len(expected.get("mismatched", []))
    listed = POINTS - len(expected.get("missing", []))
    assert coverage_of(result)["read_by"] == {"rest": apart, "verifier": listed - apart}


@pytest.mark.fault("H03")
def test_an_apparent_difference_is_none(bench: Workbench, edge: RunningWorker) -> None:
    """The sign of a zero, and the value that earlier versions wrote as its neighbour."""
    with put_back(bench):
        for vector_id, (values, metadata) in bench.stored().items():
            changed = values.copy()
            changed[changed == 0] = np.float32(-0.0)
            bench.sandbox.store.put_vector(bench.index, vector_id, changed, metadata)
        result = bench.run("reconcile")

    assert result.exit_code == ExitCode.DONE, result.stderr
    assert coverage_of(result)["read_by"] == {"rest": 0, "verifier": POINTS}


def test_a_sample_is_read_by_the_verifier_too(bench: Workbench, edge: RunningWorker) -> None:
    result = bench.run("reconcile", "--content-full-max", "0", "--content-sample", "40")

    assert result.exit_code == ExitCode.DONE, result.stderr
    assert coverage_of(result)["contents"] == "sampled"
    assert coverage_of(result)["read_by"] == {"rest": 0, "verifier": 40}


def fell_back(bench: Workbench, reason: str, *, verified: int = 0) -> Result:
    """Reconcile; it has to end equal, with the rest read by REST for this reason."""
    result = bench.run("reconcile")
    assert result.exit_code == ExitCode.DONE, result.stderr
    coverage = coverage_of(result)
    assert coverage["read_by"] == {"rest": POINTS - verified, "verifier": verified}
    assert reason in coverage["fell_back"], coverage
    assert "REST reads on. Advice: " in result.stderr
    return result


@pytest.mark.fault("H04")
def test_another_key_is_named_and_rest_reads_all(bench: Workbench, edge: RunningWorker) -> None:
    bench.environment["Q2V_VERIFIER_KEY"] = "x" * 40
    try:
        fell_back(bench, "HTTP 404: another key, or no verifier at this address")
    finally:
        bench.environment["Q2V_VERIFIER_KEY"] = KEY


@pytest.mark.fault("H02")
def test_a_verifier_of_another_index_is_not_believed(bench: Workbench) -> None:
    """The other index holds the same vectors; a difference in the right one is still found."""
    copied_to(bench, "elsewhere")
    with running_verifier(bench, indexes={bench.index: "elsewhere"}), put_back(bench):
        fell_back(bench, f"it is bound to another index than '{bench.index}'")
        expected = one_ulp(bench)
        result = bench.run("reconcile")

    assert result.exit_code == ExitCode.DRIFT
    assert named(result) == expected


def copied_to(bench: Workbench, other: str) -> None:
    """Make an index with the vectors of the bench."""
    created = bench.sandbox.store.vectors.indexes.create
    created(other, "", {"dimensions": DIMENSIONS, "metric": "cosine"})
    for vector_id, (values, metadata) in bench.stored().items():
        bench.sandbox.store.put_vector(other, vector_id, values, metadata)


@pytest.mark.fault("H02")
def test_of_several_indexes_the_one_of_the_run_is_read(bench: Workbench) -> None:
    """Both hold the same vectors. With their names exchanged the verifier is not believed."""
    copied_to(bench, "wiki-1")
    with put_back(bench):
        with running_verifier(bench, indexes={"wiki-1": "wiki-1", bench.index: bench.index}):
            result = bench.run("reconcile")
            expected = one_ulp(bench)
            drift = bench.run("reconcile")
        assert coverage_of(result)["read_by"] == {"rest": 0, "verifier": POINTS}
        assert named(drift) == expected
        with running_verifier(bench, indexes={"wiki-1": bench.index, bench.index: "wiki-1"}):
            other = bench.run("reconcile")
    assert f"bound to another index than '{bench.index}'" in coverage_of(other)["fell_back"]
    assert named(other) == expected


@pytest.mark.fault("H02")
def test_a_verifier_without_the_index_is_refused_with_both_named(bench: Workbench) -> None:
    copied_to(bench, "wiki-2")
    with running_verifier(bench, indexes={"wiki-2": "wiki-2"}):
        fell_back(bench, f"it has no vector index '{bench.index}', it has 'wiki-2'")
        checked = bench.run("check", "--verifier", bench.environment["Q2V_VERIFIER_URL"])

    assert f"it has no vector index '{bench.index}'" in checked.stdout + checked.stderr


@pytest.mark.fault("H05")
def test_a_verifier_that_is_configured_wrongly_says_what_is_wrong(bench: Workbench) -> None:
    """An index that does not exist does not keep the others from being read."""
    with running_verifier(bench, indexes={bench.index: bench.index, "wiki-3": "absent"}):
        result = bench.run("reconcile")
    assert coverage_of(result)["read_by"] == {"rest": 0, "verifier": POINTS}
    with running_verifier(bench, indexes={}):
        result = fell_back(bench, "it is configured wrongly: VECTORIZE_INDEXES: found no object")
    assert "Advice: correct verifier.wrangler.jsonc" in result.stderr


@pytest.mark.fault("H05")
def test_a_plan_with_too_few_subrequests_is_named(bench: Workbench, edge: RunningWorker) -> None:
    edge.order(cut="refuse", after=3)
    try:
        result = fell_back(bench, "its plan allows too few subrequests")
    finally:
        edge.order()
    assert "Workers Paid" in result.stderr


@pytest.mark.fault("H07")
def test_a_read_that_fails_once_is_repeated_by_the_verifier(
    bench: Workbench, edge: RunningWorker
) -> None:
    edge.order(cut="lose", after=2)
    try:
        result = bench.run("reconcile")
    finally:
        edge.order()
    assert result.exit_code == ExitCode.DONE, result.stderr
    assert coverage_of(result)["read_by"] == {"rest": 0, "verifier": POINTS}


@pytest.mark.fault("H05")
@pytest.mark.parametrize("planted", [False, True])
def test_a_worker_that_is_killed_half_way_leaves_the_rest_to_rest(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, planted: bool
) -> None:
    """What was proved before stays; a difference in the part of REST is found as well."""
    monkeypatch.setattr(by_verifier, "QUESTION_VECTORS_MAX", 20)
    monkeypatch.setattr(client, "ATTEMPTS_MAX", 2)
    monkeypatch.setattr(client, "VerifierLimits", partial(client.VerifierLimits, at_once=1))
    with running_verifier(bench) as running, put_back(bench):
        expected = missing_values_at_the_end(bench) if planted else {}
        running.order(cut="hold", after=4)  # one for /ready, three questions
        killer = threading.Thread(target=kill_when_held, args=(running,))
        killer.start()
        result = bench.run("reconcile")
        killer.join()

    coverage = coverage_of(result)
    verified = coverage["read_by"]["verifier"]
    assert verified in {20, 40, 60}  # of the three answers, those without a gap before them
    assert coverage["read_by"] == {"rest": POINTS - verified, "verifier": verified}
    assert "no usable answer in 2 attempts" in coverage["fell_back"]
    assert named(result) == expected
    assert result.document["verdict"] == ("drift" if planted else "equal"), result.stderr


def missing_values_at_the_end(bench: Workbench) -> dict[str, list[str]]:
    """A difference in the last file."""
    values = bench.stored()["file-0018_3"][0].copy()
    values[0] += np.float32(1)
    put(bench, "file-0018_3", values)
    return {"mismatched": ["file-0018_3"]}


def kill_when_held(running: RunningWorker) -> None:
    """Kill the runtime once it waits for a read."""
    for _ in range(3_000):
        if httpx.get(running.control_url, verify=LOOPBACK).json()["waiting"]:
            break
        SystemClock().wait(0.01)
    os.kill(running.pid, signal.SIGKILL)


@pytest.mark.fault("H05")
def test_rest_that_cannot_read_either_is_indeterminate(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verifier is killed after a part, and REST is cut off: nothing is called equal."""

    def fetch(*_: object) -> None:
        raise RemoteUnavailableError("the line is cut", remedy="wait")

    monkeypatch.setattr(by_verifier, "QUESTION_VECTORS_MAX", 20)
    monkeypatch.setattr(client, "ATTEMPTS_MAX", 1)
    monkeypatch.setattr(VectorizeTarget, "fetch", fetch)
    with running_verifier(bench) as running:
        running.order(cut="hold", after=4)
        killer = threading.Thread(target=kill_when_held, args=(running,))
        killer.start()
        result = bench.run("reconcile")
        killer.join()

    assert result.exit_code == ExitCode.INDETERMINATE
    assert result.document["verdict"] == "indeterminate"
    assert "contents" in result.document["unread"]


@pytest.mark.fault("H04")
@pytest.mark.parametrize("broken", ["signature", "time", "cut", "path", "none"])
def test_what_is_not_a_good_request_gets_404_from_the_real_runtime(
    bench: Workbench, edge: RunningWorker, broken: str
) -> None:
    edge.order()
    body = protocol.encode_question([(VectorId("file-0000_0"), bytes(32))])
    key, nonce, path = SealKey(KEY), "0" * 32, protocol.question_path(bench.index)
    time_s = int(SystemClock().wall_s()) - 200 * (broken == "time")
    signature = key.code(protocol.request_text("POST", path, time_s, nonce, body))
    if broken == "signature":
        signature = "0" * 64
    answer = httpx.post(
        edge.url + (path if broken != "path" else f"{path}/"),
        content=body[:-1] if broken == "cut" else body,
        headers={"x-q2v-time": str(time_s), "x-q2v-nonce": nonce, "x-q2v-hmac": signature},
        verify=LOOPBACK,
    )
    seen = [one["operation"] for one in httpx.get(edge.control_url, verify=LOOPBACK).json()["seen"]]

    if broken == "none":
        assert (answer.status_code, seen) == (200, ["getByIds"])
    else:
        assert (answer.status_code, answer.content, seen) == (404, b"", [])


@pytest.mark.fault("H06")
def test_with_the_key_no_write_can_be_reached(bench: Workbench, edge: RunningWorker) -> None:
    """Whatever is asked with a good signature, the binding is only described and read by id."""
    edge.order()
    before, key = bench.state(), SealKey(KEY)
    body = protocol.encode_question([(VectorId("file-0000_0"), bytes(32))])
    vectors, asked = b'{"id":"file-0000_0","values":[1]}', protocol.question_path(bench.index)
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        for path in ("/ready", asked, "/v2/upsert", "/v2/insert", "/v2/deleteByIds", "/"):
            for sent in (b"", body, vectors):
                time_s, nonce = int(SystemClock().wall_s()), secrets.token_hex(16)
                signed = key.code(protocol.request_text(method, path, time_s, nonce, sent))
                headers = {"x-q2v-time": str(time_s), "x-q2v-nonce": nonce, "x-q2v-hmac": signed}
                httpx.request(
                    method, edge.url + path, content=sent, headers=headers, verify=LOOPBACK
                )
    seen = {one["operation"] for one in httpx.get(edge.control_url, verify=LOOPBACK).json()["seen"]}

    assert seen == {"info", "getByIds"}
    assert bench.state() == before
