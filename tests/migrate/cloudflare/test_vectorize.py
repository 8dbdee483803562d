"""The vector index over real sockets: what is sent, and what is believed of the answers."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.cloudflare.client.wire import HttpLimits
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.errors import (
    AccessError,
    IndeterminateError,
    RemoteUnavailableError,
    TargetRefusedError,
)
from migrate.model.limits import READS_IN_FLIGHT_MAX, UPLOAD_BYTES_MAX
from migrate.model.records import Accepted, IndexProgress, MutationId, VectorId, VectorIndex
from migrate.ports import VectorTarget
from migrate.workers.ordered import in_order
from tests.harness.tiers import examples
from tests.migrate.cloudflare.clients import ACCOUNT_ID, ATTEMPTS_MAX, FAST, PATIENT, scripted
from tests.servers.scripted_http import (
    CutAfterRequest,
    Reply,
    Script,
    ScriptedServer,
    Seen,
    Step,
    envelope,
    failure,
)

PREFIX = f"/client/v4/accounts/{ACCOUNT_ID}/vectorize/v2/indexes"
MUTATION = MutationId("7f11d6e5-d126-4f76-936e-fbfec079e0be")
INDEX = {
    "name": "docs-prod",
    "created_on": "2026-11-01T10:00:00Z",
    "config": {"dimensions": 768, "metric": "cosine"},
}
EXPECTED_INDEX = VectorIndex(
    name="docs-prod", dimensions=768, metric="cosine", created_on="2026-11-01T10:00:00Z"
)


@contextmanager
def target_of(
    script: Script, *, limits: HttpLimits = FAST
) -> Iterator[tuple[ScriptedServer, VectorTarget]]:
    with scripted(script, limits=limits) as (server, http):
        yield server, VectorizeTarget(http, "docs-prod")


def ids(*names: str) -> list[VectorId]:
    return [VectorId(name) for name in names]


def record(name: str, *values: float, **more: object) -> dict[str, object]:
    return {"id": name, "values": list(values), **more}


def page(
    names: list[str], *, total: int, cursor: str | None = None, truncated: bool | None = None
) -> Reply:
    return envelope(
        {
            "count": len(names),
            "totalCount": total,
            "isTruncated": cursor is not None if truncated is None else truncated,
            "nextCursor": cursor,
            "cursorExpirationTimestamp": "2026-11-13T20:32:52.469144957+00:00",
            "vectors": [{"id": name} for name in names],
        }
    )


@pytest.mark.fault("U02")
def test_an_upload_goes_as_ndjson_and_asks_for_errors() -> None:
    lines = [b'{"id":"a","values":[1]}\n', b'{"id":"b","values":[2]}\n']
    with target_of([envelope({"mutationId": MUTATION})]) as (server, target):
        accepted = target.upsert(lines)

    (seen,) = server.requests
    assert (seen.method, seen.target) == (
        "POST",
        f"{PREFIX}/docs-prod/upsert?unparsable-behavior=error",
    )
    assert seen.headers["content-type"] == "application/x-ndjson"
    assert seen.body == b"".join(lines)
    assert accepted.mutation_id == MUTATION
    assert accepted.server_date is not None


@pytest.mark.fault("N08")
@pytest.mark.parametrize(
    "result", [{}, None, [], {"mutationId": None}, {"mutationId": ""}, {"mutationId": 7}]
)
def test_without_a_mutation_id_nothing_was_accepted(result: object) -> None:
    with target_of([envelope(result)]) as (server, target), pytest.raises(RemoteUnavailableError):
        target.upsert([b"{}\n"])

    assert len(server.requests) == ATTEMPTS_MAX


@pytest.mark.fault("N06")
def test_a_lost_answer_is_followed_by_the_same_upload() -> None:
    with target_of([CutAfterRequest(), envelope({"mutationId": MUTATION})]) as (server, target):
        target.upsert([b'{"id":"a"}\n'])

    first, second = server.requests
    assert first.body_sha256 == second.body_sha256


@pytest.mark.slow
@pytest.mark.fault("N17")
def test_an_upload_above_the_limit_is_not_even_sent() -> None:
    piece = bytes(UPLOAD_BYTES_MAX // 100)
    script = [envelope({"mutationId": MUTATION})]
    with target_of(script, limits=PATIENT) as (server, target):
        with pytest.raises(TargetRefusedError) as refusal:
            target.upsert([piece] * 100 + [b"x"])
        assert server.requests == []
        assert refusal.value.evidence["status"] == 413

        target.upsert([piece] * 100)
    assert server.requests[0].body_bytes == UPLOAD_BYTES_MAX


@pytest.mark.fault("N09")
@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.parametrize("code", [3000, 3005])
def test_no_such_index_is_told_by_the_code(status: int, code: int) -> None:
    with target_of([failure(status, (code, "vectorize.index.not_found"))]) as (_, target):
        assert target.read_index() is None


def test_the_index_is_read() -> None:
    with target_of([envelope(INDEX)]) as (server, target):
        assert target.read_index() == EXPECTED_INDEX
    assert server.requests[0].target == f"{PREFIX}/docs-prod"


def test_other_refusals_of_reading_the_index_are_none() -> None:
    no_route = failure(404, (7003, "no route"))
    with target_of([no_route]) as (_, target), pytest.raises(TargetRefusedError, match="7003"):
        target.read_index()
    with target_of([failure(403, (10000, "no"))]) as (_, target), pytest.raises(AccessError):
        target.read_index()


def test_an_answer_about_another_index_is_not_believed() -> None:
    other = {**INDEX, "name": "docs-test"}
    with target_of([envelope(other)]) as (_, target), pytest.raises(RemoteUnavailableError):
        target.read_index()


def test_an_index_is_created_with_nested_config() -> None:
    with target_of([envelope(INDEX)]) as (server, target):
        assert target.create_index(dimensions=768, metric="cosine") == EXPECTED_INDEX

    config = {"dimensions": 768, "metric": "cosine"}
    assert server.requests[0].json() == {"name": "docs-prod", "config": config}


DUPLICATE = failure(409, (3002, "vectorize.index.duplicate_name"))


def test_an_index_that_exists_is_refused() -> None:
    with target_of([DUPLICATE]) as (_, target), pytest.raises(TargetRefusedError, match="3002"):
        target.create_index(dimensions=768, metric="cosine")


@pytest.mark.fault("N06")
def test_an_index_created_by_a_lost_try_is_taken_if_it_is_the_same() -> None:
    script: list[Step] = [CutAfterRequest(), DUPLICATE, envelope(INDEX)]
    with target_of(script) as (_, target):
        assert target.create_index(dimensions=768, metric="cosine") == EXPECTED_INDEX
    with target_of(script) as (_, target), pytest.raises(TargetRefusedError):
        target.create_index(dimensions=769, metric="cosine")


def test_metadata_index_types_come_back_in_lower_case() -> None:
    listed = [{"propertyName": "file_id", "indexType": "String"}]
    with target_of([envelope({"metadataIndexes": listed})]) as (_, target):
        assert target.read_metadata_indexes() == {"file_id": "string"}


def test_a_metadata_index_is_asked_for() -> None:
    with target_of([envelope({"mutationId": MUTATION})]) as (server, target):
        target.create_metadata_index("file_id", "string")

    assert server.requests[0].target.endswith("/docs-prod/metadata_index/create")
    assert server.requests[0].json() == {"propertyName": "file_id", "indexType": "string"}


@pytest.mark.fault("U05")
@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({}, IndexProgress(vector_count=None, processed_mutation=None, processed_at=None)),
        (
            {
                "dimensions": 768,
                "vectorCount": 9,
                "processedUpToMutation": MUTATION,
                "processedUpToDatetime": None,
            },
            IndexProgress(vector_count=9, processed_mutation=MUTATION, processed_at=None),
        ),
    ],
)
def test_progress_may_be_told_in_part(result: object, expected: IndexProgress) -> None:
    with target_of([envelope(result)]) as (_, target):
        assert target.read_progress() == expected


@pytest.mark.fault("R08")
def test_records_are_matched_by_id_not_by_place() -> None:
    records = [
        record("c", 58.79999923706055, 1, metadata=None, namespace=None),
        record("a", 0.5, -0.0, metadata={"n": 1}, namespace="x"),
    ]
    with target_of([envelope(records)]) as (server, target):
        found = target.fetch(ids("a", "b", "c"))

    assert server.requests[0].json() == {"ids": ["a", "b", "c"]}
    assert set(found) == {"a", "c"}
    assert found[VectorId("a")].metadata == {"n": 1}
    assert found[VectorId("a")].namespace == "x"
    assert (found[VectorId("c")].metadata, found[VectorId("c")].namespace) == (None, None)
    assert found[VectorId("c")].values.dtype == np.float32
    assert found[VectorId("c")].values.tobytes() == np.array([58.8, 1], np.float32).tobytes()


@settings(max_examples=examples(20), deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40)
)
@pytest.mark.fault("S09")
def test_every_float32_survives_its_double_text(values: list[float]) -> None:
    """Extremes, subnormals and negative zero come back bit by bit."""
    with target_of([envelope([record("a", *values)])]) as (_, target):
        found = target.fetch(ids("a"))

    assert found[VectorId("a")].values.tobytes() == np.array(values, np.float32).tobytes()


@pytest.mark.fault("R08", "N08")
@pytest.mark.parametrize(
    "result",
    [
        [record("z", 1)],
        [record("a", 1), record("a", 1)],
        [{"id": "a"}],
        [{"id": "a", "values": None}],
        [{"id": "a", "values": [1, None]}],
        [{"id": "a", "values": ["1"]}],
        [{"id": "a", "values": [1, [2]]}],
        [{"id": "a", "values": [[1], [2]]}],
        [{"id": "a", "values": [1e39]}],
        [{"values": [1]}],
        ["a"],
        {"a": [1]},
        None,
    ],
    ids=str,
)
def test_an_answer_to_another_question_is_not_believed(result: object) -> None:
    with target_of([envelope(result)]) as (_, target), pytest.raises(RemoteUnavailableError):
        target.fetch(ids("a", "b"))


@pytest.mark.fault("F03")
@pytest.mark.parametrize("wanted", ["f1", 2.5, True], ids=str)
def test_a_filter_asks_for_ids_alone(wanted: str | float | bool) -> None:
    matches = {"count": 2, "matches": [{"id": "b", "score": 1.0}, {"id": "a", "score": 0.5}]}
    with target_of([envelope(matches)]) as (server, target):
        found = target.find([0.5, -1.0], {"page": wanted}, limit=100)

    assert found == ids("b", "a")
    assert server.requests[0].target.endswith("/docs-prod/query")
    assert server.requests[0].json() == {
        "vector": [0.5, -1.0],
        "topK": 100,
        "returnValues": False,
        "returnMetadata": "none",
        "filter": {"page": wanted},
    }


@pytest.mark.fault("F03", "N08")
@pytest.mark.parametrize(
    "result",
    [
        {"matches": [{"id": "a"}, {"id": "a"}]},
        {"matches": [{"id": "a"}, {"id": "b"}, {"id": "c"}]},
        {"matches": [{"score": 1}]},
        {"matches": None},
        {"count": 0},
        [],
        None,
    ],
    ids=str,
)
def test_matches_that_no_query_of_two_can_have_are_not_believed(result: object) -> None:
    with target_of([envelope(result)]) as (_, target), pytest.raises(RemoteUnavailableError):
        target.find([1.0], {"page": 1}, limit=2)


def test_nothing_asked_for_costs_no_request() -> None:
    with target_of([envelope([])]) as (server, target):
        assert target.fetch([]) == {}
    assert server.requests == []


def at_most(
    ids_max: int, text: str, answer: Callable[[list[str]], Reply]
) -> Callable[[Seen], Step]:
    def script(seen: Seen) -> Step:
        asked = orjson.loads(seen.body)["ids"]
        if len(asked) > ids_max:
            return failure(400, (40007, text.format(ids_max, len(asked))))
        return answer(asked)

    return script


@pytest.mark.fault("R08")
@pytest.mark.parametrize("ids_max", [1, 7, 20])
@pytest.mark.parametrize(
    "text", ["too many ids in payload; max id count is {}, got {}", "too many ids"]
)
def test_a_lower_cap_of_the_service_is_learnt(ids_max: int, text: str) -> None:
    """The number in the message is believed; without one the request is halved."""
    names = [f"v{number}" for number in range(20)]
    script = at_most(ids_max, text, lambda asked: envelope([record(name, 1) for name in asked]))
    with target_of(script) as (server, target):
        assert set(target.fetch(ids(*names))) == set(names)
        refused = sum(len(orjson.loads(seen.body)["ids"]) > ids_max for seen in server.requests)
        first_requests = len(server.requests)
        target.fetch(ids(*names))

    assert len(server.requests) - first_requests == first_requests - refused


@pytest.mark.fault("R08")
def test_a_cap_that_one_thread_learnt_is_not_raised_by_a_late_answer_to_another() -> None:
    names = ids(*(f"v{number}" for number in range(20)))
    asking, learnt = threading.Event(), threading.Event()
    sizes: list[int] = []

    def script(seen: Seen) -> Step:
        asked = orjson.loads(seen.body)["ids"]
        sizes.append(len(asked))
        if len(sizes) == 1:  # of the other thread: answered late, and with less to go by
            asking.set()
            assert learnt.wait(300)
            return failure(400, (40007, "too many ids"))
        if len(asked) > 5:
            return failure(400, (40007, "too many ids in payload; max id count is 5, got 20"))
        return envelope([record(name, 1) for name in asked])

    with target_of(script, limits=PATIENT) as (_, target), ThreadPoolExecutor(1) as other:
        late = other.submit(target.fetch, names)
        assert asking.wait(300)
        assert set(target.fetch(names)) == set(names)
        learnt.set()
        assert set(late.result(10)) == set(names)

    assert sizes == [20, 20] + [5] * 8


@pytest.mark.fault("I9")
def test_many_threads_share_one_budget_and_one_client() -> None:
    """As many requests under way as the widest setting allows, each counted once."""
    width = READS_IN_FLIGHT_MAX
    together = threading.Barrier(width, timeout=300)

    def script(seen: Seen) -> Step:
        together.wait()
        return envelope([record(name, 1) for name in orjson.loads(seen.body)["ids"]])

    with scripted(script, limits=PATIENT) as (server, http):
        target = VectorizeTarget(http, "docs-prod")
        batches = [ids(f"v{number}") for number in range(3 * width)]
        found = list(in_order(target.fetch, batches, width=width))

    assert [set(answer) for _, answer in found] == [set(batch) for batch in batches]
    assert len(server.requests) == 3 * width


@pytest.mark.fault("R08")
def test_deletes_are_split_likewise_and_the_last_mutation_counts() -> None:
    names = ids(*(f"v{number}" for number in range(100)))
    text = "too many ids in payload; max id count is {}, got {}"
    script = at_most(30, text, lambda asked: envelope({"mutationId": f"m-{asked[-1]}"}))
    with target_of(script) as (server, target):
        accepted = target.delete(names)

    deleted = [orjson.loads(seen.body)["ids"] for seen in server.requests[1:]]
    assert [name for some in deleted for name in some] == names
    assert accepted.mutation_id == "m-v99"
    assert isinstance(accepted, Accepted)


@pytest.mark.fault("R04")
def test_one_walk_gives_every_id_once() -> None:
    script = [
        page(["b", "c"], total=3, cursor="x+/="),
        page([], total=9, cursor="y"),
        page(["a"], total=9),
    ]
    with target_of(script) as (server, target):
        assert list(target.list_ids()) == [["b", "c"], ["a"]]

    assert [seen.target.rpartition("/")[2] for seen in server.requests] == [
        "list?count=1000",
        "list?count=1000&cursor=x%2B%2F%3D",
        "list?count=1000&cursor=y",
    ]


def test_an_empty_index_lists_nothing() -> None:
    with target_of([page([], total=0)]) as (_, target):
        assert list(target.list_ids()) == []


GONE = [failure(status, (1234, "cursor expired")) for status in (400, 404, 410)]
BROKEN_WALKS = {
    "fewer than announced": [page(["a"], total=2)],
    "more than announced": [page(["a", "b"], total=1)],
    "one twice, one missing": [page(["a", "a"], total=2)],
    "one twice over pages": [page(["a"], total=2, cursor="x"), page(["a"], total=2)],
    "cut off without a cursor": [page(["a"], total=1, truncated=True)],
    "same cursor again": [page(["a"], total=5, cursor="x"), page(["b"], total=5, cursor="x")],
    "cursors in a circle": [
        page(["a"], total=9, cursor="x"),
        page(["b"], total=9, cursor="y"),
        page(["c"], total=9, cursor="x"),
    ],
    **{f"cursor answered {gone.status}": [page(["a"], total=2, cursor="x"), gone] for gone in GONE},
}


@pytest.mark.fault("R04", "R07", "K07")
@pytest.mark.parametrize("script", BROKEN_WALKS.values(), ids=BROKEN_WALKS)
def test_a_walk_that_does_not_add_up_is_not_told_for_complete(script: list[Reply]) -> None:
    with target_of(script) as (_, target), pytest.raises(IndeterminateError):
        list(target.list_ids())


@pytest.mark.fault("R07", "U06")
def test_other_failures_of_a_walk_keep_their_meaning() -> None:
    first = page(["a"], total=2, cursor="x")
    with target_of([first, failure(503)]) as (_, target), pytest.raises(RemoteUnavailableError):
        list(target.list_ids())
    gone = failure(400, (3000, "vectorize.index.not_found"))
    with target_of([first, gone]) as (_, target), pytest.raises(TargetRefusedError):
        list(target.list_ids())
    with target_of([GONE[0]]) as (_, target), pytest.raises(TargetRefusedError):
        list(target.list_ids())


@pytest.mark.fault("N08")
@pytest.mark.parametrize("missing", ["vectors", "isTruncated", "totalCount"])
def test_a_page_without_its_members_is_unusable(missing: str) -> None:
    whole = orjson.loads(page(["a"], total=1).body)["result"]
    del whole[missing]
    with target_of([envelope(whole)]) as (_, target), pytest.raises(RemoteUnavailableError):
        list(target.list_ids())


def test_the_identity_names_the_index() -> None:
    with target_of([]) as (_, target):
        assert target.identity()["vector_index"] == "docs-prod"
