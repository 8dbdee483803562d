"""A verifier that lies with the right key is not believed: what differs is found all the same."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import numpy as np
import pytest

from migrate.cloudflare.verifier import client
from migrate.errors import ExitCode
from migrate.model.digest import digest_vector
from migrate.model.hmac_key import SealKey
from migrate.model.records import Vector, VectorId
from reconcile.scan import by_verifier
from tests.harness.network import LOOPBACK
from tests.harness.running.secrecy import assert_secret_absent
from tests.harness.running.workbench import Workbench, points, workbench
from tests.reconcile.verifier.edge import KEY, pointed_at
from tests.servers.edge_verifier import (
    Asked,
    Document,
    EdgeVerifierInPython,
    serving,
    sum_of,
)
from tests.servers.scripted_http import CutAfterRequest, Hang, Reply, Step

POINTS = 60
CHANGED = "file-0003_2"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A finished move."""
    with workbench(tmp_path_factory.mktemp("lies"), points(POINTS)) as made:
        moved = made.move()
        assert moved.exit_code == ExitCode.DONE, moved.stderr
        yield made


@contextmanager
def lying(
    bench: Workbench, lie: Callable[[Asked, Document], Document | Step] | None = None, **more: Any
) -> Iterator[EdgeVerifierInPython]:
    """A verifier that knows what the index holds, used by the commands of the bench."""

    def digests() -> dict[str, bytes]:
        return {
            name: digest_vector(
                Vector(id=VectorId(name), values=values, namespace=None, metadata=metadata)
            )
            for name, (values, metadata) in bench.stored().items()
        }

    def mutation() -> str:
        answer = httpx.get(
            f"{bench.sandbox.base_url}/accounts/{bench.sandbox.account_id}"
            f"/vectorize/v2/indexes/{bench.index}/info",
            headers={"Authorization": f"Bearer {bench.environment['CLOUDFLARE_API_TOKEN']}"},
            verify=LOOPBACK,
        )
        return str(answer.json()["result"]["processedUpToMutation"])

    known = {"key": SealKey(KEY), "digests": digests, "mutation": mutation, "index": bench.index}
    verifier = EdgeVerifierInPython(**{**known, **more})
    if lie is not None:
        verifier.lie = lie
    with serving(verifier) as url, pointed_at(bench, url):
        yield verifier


@contextmanager
def one_change(bench: Workbench) -> Iterator[None]:
    """One value of one vector differs by one ulp."""
    values, metadata = bench.stored()[CHANGED]
    other = values.copy()
    other.view(np.uint32)[3] ^= np.uint32(1)
    bench.sandbox.store.put_vector(bench.index, CHANGED, other, metadata)
    try:
        yield
    finally:
        bench.sandbox.store.put_vector(bench.index, CHANGED, values, metadata)


def assert_found(bench: Workbench, reason: str | None) -> dict[str, Any]:
    """Reconcile names exactly the changed vector, and why REST read on; returns the coverage."""
    result = bench.run("reconcile")
    assert result.document["verdict"] == "drift", result.stderr
    assert {name: n for name, n in result.document["drift"].items() if n} == {"mismatched": 1}
    assert list(result.document["differs"]) == [CHANGED]
    coverage: dict[str, Any] = result.document["coverage"]
    if reason is None:
        assert coverage["fell_back"] is None
    else:
        assert reason in str(coverage["fell_back"])
    return coverage


@pytest.mark.slow
@pytest.mark.fault("I10")
def test_the_truth_is_believed_and_the_key_is_nowhere(bench: Workbench) -> None:
    with lying(bench) as verifier, one_change(bench):
        coverage = assert_found(bench, None)
        shown = bench.run("reconcile", as_json=False)

    assert coverage["read_by"] == {"rest": 1, "verifier": POINTS - 1}
    sent = [repr(question) for question in verifier.questions]
    assert_secret_absent(KEY, [bench.directory], [shown.stdout, shown.stderr, *sent])


def equal_unread(asked: Asked, _: Document) -> Document:
    """All are as they should be, says one that knows a quarter of each digest."""
    return {
        "read": len(asked),
        "calls": 0,
        "retries": 0,
        "missing": [],
        "differs": [],
        "unreadable": [],
        "digest": sum_of([prefix + bytes(24) for _, prefix in asked]),
    }


@pytest.mark.slow
@pytest.mark.fault("H02")
def test_equal_is_not_believed_of_one_that_did_not_read(bench: Workbench) -> None:
    with lying(bench, equal_unread), one_change(bench):
        coverage = assert_found(bench, "it did not read the vectors")

    assert coverage["read_by"] == {"rest": POINTS, "verifier": 0}


@pytest.mark.slow
@pytest.mark.fault("H02")
def test_an_old_answer_is_not_believed(bench: Workbench) -> None:
    """A cache, or another program on the way, repeats what the Worker answered before."""
    kept: dict[str, Reply] = {}

    def keep(asked: Asked) -> Callable[[Reply], Reply]:
        return lambda reply: kept.setdefault(asked[0][0], reply)

    with lying(bench) as verifier:
        verifier.lie = lambda asked, document: _remember(verifier, keep(asked), document)
        clean = bench.run("reconcile")
        assert clean.document["coverage"]["read_by"] == {"rest": 0, "verifier": POINTS}
        assert len(kept) == POINTS // 20
        verifier.lie = lambda asked, _: kept[asked[0][0]]
        with one_change(bench):
            coverage = assert_found(bench, "without a signature of this key for this request")

    assert coverage["read_by"] == {"rest": POINTS, "verifier": 0}


def _remember(
    verifier: EdgeVerifierInPython, keep: Callable[[Reply], Reply], document: Document
) -> Document:
    verifier.lie_of_headers = keep
    return document


def half(asked: Asked, document: Document) -> Document:
    """The first half is left out, and with it what differs there."""
    kept = {name for name, _ in asked[len(asked) // 2 :]}
    left_out = {name for name, _ in asked} - kept
    if CHANGED not in left_out:
        return document
    return {
        **document,
        "read": len(kept),
        "differs": [one for one in document["differs"] if one[0] in kept],
        "digest": "0" * 64,
    }


@pytest.mark.slow
@pytest.mark.fault("H02")
def test_vectors_that_are_left_out_are_read_over_rest(bench: Workbench) -> None:
    with lying(bench, half), one_change(bench):
        assert_found(bench, "vectors, 20 were expected")


def gone(asked: Asked, document: Document) -> Document:
    """A whole batch is called missing: no digest has to be known for that."""
    if CHANGED not in {name for name, _ in asked}:
        return document
    names = [name for name, _ in asked]
    return {**document, "read": 0, "missing": names, "differs": [], "digest": sum_of([])}


@pytest.mark.slow
@pytest.mark.fault("H02")
def test_what_is_called_missing_is_read_over_rest(bench: Workbench) -> None:
    with lying(bench, gone), one_change(bench):
        coverage = assert_found(bench, None)

    assert coverage["read_by"] == {"rest": 20, "verifier": POINTS - 20}


def of_another(asked: Asked, document: Document) -> Document:
    return {**document, "missing": ["file-9999_0"]}


def twice(asked: Asked, document: Document) -> Document:
    return {**document, "missing": [asked[0][0]], "unreadable": [[asked[0][0], "odd"]]}


def equal_but_different(asked: Asked, document: Document) -> Document:
    return {**document, "differs": [[asked[0][0], "00" * 32]]}


def no_list(asked: Asked, document: Document) -> Document:
    return {**document, "differs": {"a": "b"}}


@pytest.mark.slow
@pytest.mark.fault("H02")
@pytest.mark.parametrize("lie", [of_another, twice, equal_but_different, no_list])
def test_an_answer_that_contradicts_itself_is_not_believed(
    bench: Workbench, lie: Callable[[Asked, Document], Document]
) -> None:
    with lying(bench, lie), one_change(bench):
        coverage = assert_found(bench, "its answer proves nothing")

    assert coverage["read_by"] == {"rest": POINTS, "verifier": 0}


@pytest.mark.fault("H05")
@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"service": "another"}, "it is no verifier of q2v"),
        ({"vectors_max": "many"}, "it has no number 'vectors_max'"),
        ({"indexes": ["wiki-0"]}, "it names no vector indexes"),
        ({"indexes": {"chunks": None}}, "it describes no vector index"),
    ],
)
def test_an_old_or_foreign_verifier_is_named(
    bench: Workbench, state: Document, reason: str
) -> None:
    with lying(bench, state=state), one_change(bench):
        assert_found(bench, reason)


@pytest.mark.slow
@pytest.mark.fault("H05")
@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"processed_mutation": None}, "it is bound to another index"),
        ({"processed_mutation": "6f1c"}, "it is bound to another index"),
        ({"dimensions": -1}, "it has no number 'dimensions'"),
    ],
)
def test_a_verifier_that_reads_another_index_is_named(
    bench: Workbench, state: Document, reason: str
) -> None:
    with lying(bench, state_of_index=state), one_change(bench):
        assert_found(bench, reason)


@pytest.mark.slow
@pytest.mark.fault("H05")
def test_a_verifier_of_another_version_is_named_with_what_to_do(bench: Workbench) -> None:
    """That of protocol 1 described its one index beside its own members."""
    of_old = {"protocol": 1, "dimensions": 32, "vector_count": 60, "processed_mutation": "6f1c"}
    with lying(bench, state=of_old), one_change(bench):
        assert_found(bench, "it speaks protocol 1, this q2v speaks 2")
        shown = bench.run("reconcile", as_json=False)

    assert "Advice: deploy the verifier of this version of q2v: `q2v worker init`" in shown.stderr


@pytest.mark.slow
@pytest.mark.fault("H02")
@pytest.mark.parametrize(
    ("indexes", "known"),
    [({"wiki-0": {}, "wiki-1": {}}, "'wiki-0', 'wiki-1'"), ({}, "none")],
)
def test_a_verifier_without_the_index_is_refused_with_both_named(
    bench: Workbench, indexes: Document, known: str
) -> None:
    states = {name: {"dimensions": 32, "processed_mutation": "6f1c"} for name in indexes}
    with lying(bench, state={"indexes": states}), one_change(bench):
        coverage = assert_found(bench, f"it has no vector index '{bench.index}', it has {known}")
        shown = bench.run("reconcile", as_json=False)

    assert coverage["read_by"] == {"rest": POINTS, "verifier": 0}
    assert "Advice: put a binding for the index into `vectorize` and its name" in shown.stderr


@pytest.mark.slow
@pytest.mark.fault("H05")
def test_an_index_that_the_verifier_cannot_describe_is_asked_for_again(bench: Workbench) -> None:
    failing = {"indexes": {bench.index: {"error": "INDEX_GET_ERROR (code = 10000): \x1b[2J"}}}
    with lying(bench, state=failing), one_change(bench):
        coverage = assert_found(bench, "no usable answer in 4 attempts: it could not describe")

    assert "INDEX_GET_ERROR (code = 10000)" in coverage["fell_back"]
    assert "\x1b" not in coverage["fell_back"]


@pytest.mark.slow
@pytest.mark.fault("H05")
@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(status=503, body=b"error code: 1102"), "exceeds the CPU time of its plan"),
        (Reply(status=500, body=b"error code: 1101"), "no usable answer in 4 attempts: HTTP 500"),
        (Reply(status=302, headers={"location": "https://login"}), "HTTP 302 from something else"),
        (Reply(status=200, body=b"<html>"), "answers HTTP 200 without a signature"),
        (Reply(status=404), "HTTP 404: another key, or no verifier"),
    ],
)
def test_an_answer_of_something_else_is_named(bench: Workbench, reply: Reply, reason: str) -> None:
    with lying(bench, lambda *_: reply), one_change(bench):
        assert_found(bench, reason)


@pytest.mark.slow
@pytest.mark.fault("H05")
@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (Hang(), "ReadTimeout"),
        (CutAfterRequest(), "no usable answer in 2 attempts: "),
        (Reply(body=b"{", content_length=900), "no usable answer in 2 attempts: "),
        (Reply(body=b"{}", endless=True), "no usable answer in 2 attempts: "),
    ],
    ids=["silence", "cut off", "cut in the answer", "endless"],
)
def test_a_line_that_is_cut_leaves_the_rest_to_rest(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, step: Step, reason: str
) -> None:
    monkeypatch.setattr(client, "ATTEMPTS_MAX", 2)
    monkeypatch.setattr(client, "VerifierLimits", partial(client.VerifierLimits, total_s=5.0))
    with lying(bench, lambda *_: step), one_change(bench):
        coverage = assert_found(bench, reason)

    assert coverage["read_by"] == {"rest": POINTS, "verifier": 0}


@pytest.mark.slow
@pytest.mark.fault("C02", "H05")
def test_after_a_kill_rest_continues_what_the_verifier_began(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without the verifier; the report still says who read what."""
    judged = iter((None, KeyboardInterrupt))

    def check_pace(*_: object) -> None:
        if (raised := next(judged)) is not None:
            raise raised

    with lying(bench), one_change(bench):
        with monkeypatch.context() as patched:
            patched.setattr(by_verifier, "BATCHES_PER_NOTE", 1)
            patched.setattr(by_verifier, "_check_pace", check_pace)
            interrupted = bench.run("reconcile")
        for name in ("Q2V_VERIFIER_URL", "Q2V_VERIFIER_KEY"):
            del bench.environment[name]
        coverage = assert_found(bench, None)

    assert interrupted.exit_code != ExitCode.DONE
    assert coverage["read_by"] == {"rest": 20 + 1, "verifier": 40 - 1}
    assert coverage["verifier"] is None


@pytest.mark.slow
@pytest.mark.fault("H05")
def test_a_slow_verifier_leaves_the_rest_to_rest(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconcile.scan.by_verifier.SLOW_AFTER_S", -1.0)
    bench.environment["Q2V_LIMITS_REQUESTS_PER_5MIN"] = "1200"
    with lying(bench), one_change(bench):
        monkeypatch.setattr("reconcile.scan.by_verifier.ContentReaders.rest_per_s", float("inf"))
        coverage = assert_found(bench, "it is slow: ")

    assert coverage["read_by"] == {"rest": POINTS - 20, "verifier": 20}


@pytest.mark.fault("H04")
@pytest.mark.parametrize(
    ("settings", "what", "advice"),
    [
        (
            {"Q2V_VERIFIER_KEY": ""},
            "found no value for target.verifier_key",
            "Q2V_VERIFIER_KEY_FILE",
        ),
        ({"Q2V_VERIFIER_KEY": "short-key"}, "9 characters, at least 32", "openssl rand -hex 32"),
        ({"Q2V_VERIFIER_URL": "http://q2v.a.workers.dev"}, "plain http is for this", "wrangler"),
        ({"Q2V_VERIFIER_URL": "https://example.com"}, "'example.com' is neither", "--allow-other"),
        ({"Q2V_VERIFIER_URL": "https://q2v.a.workers.dev/x"}, "it has a path", "wrangler printed"),
        ({"Q2V_VERIFIER_URL": "workers.dev"}, "expected an http or https URL", "correct it"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_read(
    bench: Workbench, settings: dict[str, str], what: str, advice: str
) -> None:
    before = len(bench.sandbox.requests)
    with lying(bench):
        bench.environment |= settings
        result = bench.run("reconcile")

    assert result.exit_code == ExitCode.USAGE
    assert what in result.stderr
    assert advice in result.stderr
    assert "short-key" not in result.stderr
    assert len(bench.sandbox.requests) == before
