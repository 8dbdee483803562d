"""What vectors do: replace, keep, come back bit for bit, appear late, walk as a snapshot."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import httpx
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.profile import INSTANT, STRICT
from sandbox.vectorize.ndjson import UploadParser
from sandbox.vectorize.values_file import widened
from tests.sandbox.conftest import DIMENSIONS, Client, Start, line, refusal

CALM = replace(STRICT, stale_read_rate=0.0, foreign_watermark_rate=0.0, count_lag_s=0.0)


def test_values_come_back_as_float32_printed_as_double(client: Client) -> None:
    client.result(client.upsert(line("a", 58.8, namespace="n")))

    answer = client.http.post(f"{client.docs}/get_by_ids", json={"ids": ["a", "absent", "a"]})
    assert "58.79999923706055" in answer.text
    assert [(one["id"], one["namespace"]) for one in client.result(answer)] == [("a", "n")]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=8, max_size=8))
def test_float32_survives_the_way_in_and_out(values: list[float]) -> None:
    """Shortest float32 text in, widened double text out: the same bits."""
    given_row = np.array(values, np.float32)
    kept: list[np.ndarray] = []

    def keep(rows: np.ndarray) -> int:
        kept.append(rows.copy())
        return 0

    parser = UploadParser(8, index_id=1, discard=False, keep_rows=keep)
    parser.feed(orjson.dumps({"id": "a", "values": given_row}, option=orjson.OPT_SERIALIZE_NUMPY))
    parser.finish()
    text = orjson.dumps(widened(kept[0][0]), option=orjson.OPT_SERIALIZE_NUMPY)

    # One float32 in two thousand million reads one step off when its text passes through double.
    steps = np.abs(kept[0][0].view(np.int32).astype(np.int64) - given_row.view(np.int32))
    assert steps.max() <= 1
    assert kept[0][0].tobytes() == np.array(json.loads(text), np.float32).tobytes()


@given(st.integers(1, 400), st.integers(0, 3))
def test_an_upload_reads_the_same_however_it_is_cut(piece_bytes: int, blank_lines: int) -> None:
    body = ("\n" * (blank_lines + 1)).join(line(str(number)) for number in range(3)).encode()
    parser = UploadParser(DIMENSIONS, index_id=1, discard=False, keep_rows=lambda _: 0)
    for start in range(0, len(body), piece_bytes):
        parser.feed(body[start : start + piece_bytes])

    assert [vector.id for vector in parser.finish()] == ["0", "1", "2"]


def test_upsert_replaces_in_full_and_insert_keeps(client: Client) -> None:
    client.result(client.upsert(line("a", 1.0, metadata={"x": 1}, namespace="n")))
    client.result(client.upload("insert", line("a", 9.0), line("b", 9.0)))
    kept = {one["id"]: one["values"][0] for one in client.get_by_ids("a", "b")}
    client.result(client.upsert(line("a", 2.0)))

    assert kept == {"a": 1.0, "b": 9.0}
    assert {"id", "values"} == set(client.get_by_ids("a")[0])
    assert client.info()["vectorCount"] == 2


def test_of_an_id_given_twice_upsert_takes_the_last_and_insert_the_first(client: Client) -> None:
    client.result(client.upsert(line("a", 1.0), line("a", 2.0)))
    client.result(client.upload("insert", line("b", 1.0), line("b", 2.0)))

    found = {one["id"]: one["values"][0] for one in client.get_by_ids("a", "b")}
    assert found == {"a": 2.0, "b": 1.0}


def test_writes_are_invisible_until_their_job_commits(start: Start) -> None:
    client = start(CALM)
    mutation_id = client.result(client.upsert(line("a")))["mutationId"]
    client.clock.advance(2.9)
    before = (client.get_by_ids("a"), client.info()["processedUpToMutation"])
    client.clock.advance(0.1)

    assert before == ([], None)
    assert client.get_by_ids("a")[0]["id"] == "a"
    assert mutation_id == client.info()["processedUpToMutation"]
    assert re.fullmatch(r"[0-9a-f-]{14}4[0-9a-f-]{21}", mutation_id)


def test_the_watermark_jumps_past_writes_of_one_job(start: Start) -> None:
    """While the first job runs, the others gather for the second: their ids are never shown."""
    client = start(CALM)
    ids = [client.result(client.upsert(line(str(n))))["mutationId"] for n in range(4)]
    seen = []
    for _ in range(70):
        client.clock.advance(0.1)
        seen.append(client.info()["processedUpToMutation"])

    assert [None, ids[0], ids[3]] == list(dict.fromkeys(seen))


def test_a_job_takes_so_many_updates_and_no_more(start: Start) -> None:
    client = start(replace(CALM, updates_per_job_max=2))
    ids = [client.result(client.upsert(line(str(n))))["mutationId"] for n in range(4)]
    client.clock.advance(6)
    after_two_jobs = client.info()["processedUpToMutation"]
    client.clock.advance(3)

    assert ids[2] == after_two_jobs
    assert ids[3] == client.info()["processedUpToMutation"]


def test_the_watermark_moves_on_to_a_foreign_mutation(start: Start) -> None:
    client = start(replace(CALM, foreign_watermark_rate=1.0))
    mutation_id = client.result(client.upsert(line("a")))["mutationId"]
    client.clock.advance(3)
    at_commit = client.info()["processedUpToMutation"]
    client.clock.advance(1)

    assert mutation_id == at_commit
    assert mutation_id != client.info()["processedUpToMutation"]


def test_the_count_lags_behind_the_watermark(start: Start) -> None:
    client = start(replace(CALM, count_lag_s=4.0))
    client.result(client.upsert(line("a")))
    client.clock.advance(3)
    early = (client.info()["vectorCount"], len(client.get_by_ids("a")))
    client.clock.advance(4)

    assert early == (0, 1)
    assert client.info()["vectorCount"] == 1


def test_now_and_then_one_read_is_stale_but_never_two_running(start: Start) -> None:
    client = start(replace(CALM, stale_read_rate=0.5))
    client.result(client.upsert(line("a")))
    client.clock.advance(3)
    fresh = [bool(client.get_by_ids("a")) for _ in range(40)]

    assert {True, False} == set(fresh)
    assert all(any(pair) for pair in pairwise(fresh))


def test_a_walk_shows_its_first_state_to_the_end(client: Client) -> None:
    client.result(client.upsert(*[line(f"b{n}") for n in range(3)]))
    client.result(client.upsert(*[line(f"a{n}") for n in range(3)]))
    first = client.list_page(count=4)
    client.result(client.upsert(line("later")))
    client.result(client.delete_by_ids(["a2"]))
    last = client.list_page(count=4, cursor=first["nextCursor"])

    ids = [one["id"] for one in first["vectors"] + last["vectors"]]
    assert ids == ["b0", "b1", "b2", "a0", "a1", "a2"]  # sorted runs, not sorted
    assert (first["totalCount"], first["isTruncated"], last["isTruncated"]) == (6, True, False)
    assert (last["nextCursor"], last["cursorExpirationTimestamp"]) == (None, None)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}\+00:00", first["cursorExpirationTimestamp"]
    )
    assert client.list_page(count=10)["totalCount"] == 6


def test_cursors_expire_and_belong_to_their_index(start: Start) -> None:
    client = start(replace(INSTANT, list_cursor_life_s=60.0))
    client.sandbox.store.create_vector_index("other", DIMENSIONS, "cosine")
    client.result(client.upsert(line("a"), line("b")))
    cursor = client.list_page(count=1)["nextCursor"]

    def walk_on(index: str, text: str) -> httpx.Response:
        url = f"{client.indexes}/{index}/list"
        return client.http.get(url, params={"count": 1, "cursor": text})

    client.clock.advance(59)
    assert walk_on("docs", cursor).status_code == 200
    assert walk_on("other", cursor).status_code == 400
    assert walk_on("docs", "garbage").status_code == 400
    client.clock.advance(1)
    assert walk_on("docs", cursor).status_code == 400


def test_metadata_index_types_are_capitalised_under_strict(start: Start) -> None:
    client = start(CALM)
    body = {"propertyName": "file_id", "indexType": "string"}
    client.result(client.http.post(f"{client.docs}/metadata_index/create", json=body))
    client.clock.advance(3)

    listed = client.result(client.http.get(f"{client.docs}/metadata_index/list"))
    assert listed == {"metadataIndexes": [{"propertyName": "file_id", "indexType": "String"}]}


def test_planting_goes_past_every_delay(start: Start) -> None:
    client = start(STRICT)
    store = client.sandbox.store
    before = store.state_digest("docs", client.namespace_id)
    store.put_vector("docs", "a", [1.0] * DIMENSIONS, {"k": 1}, "n")
    planted = [(one[0], one[2], one[3]) for one in store.read_vectors("docs")]
    store.put_kv(client.namespace_id, "k", b"v", {"m": 1})
    between = store.state_digest("docs", client.namespace_id)
    store.remove_vector("docs", "a")
    store.remove_kv(client.namespace_id, "k")

    assert planted == [("a", "n", {"k": 1})]
    assert before != between
    assert before == store.state_digest("docs", client.namespace_id)


def test_a_planted_vector_must_fit(client: Client) -> None:
    with pytest.raises(ValueError, match="takes 32 values"):
        client.sandbox.store.put_vector("docs", "a", [1.0])


def test_a_vector_write_on_an_absent_index_is_refused(client: Client) -> None:
    answer = client.http.post(f"{client.indexes}/absent/upsert", content=line("a"))

    assert refusal(answer) == (400, 3000)
