"""Faults on order: what strikes when, and what was taken nevertheless."""

import httpx
import pytest

from sandbox.faults.faults import FAULTS, parse_faults
from tests.sandbox.conftest import Client, Start, line, refusal


@pytest.mark.parametrize(
    "spec", ["nothing:every=1", "slow", "slow:every=1", "slow:ms=0", "slow:ms=x", "429:after=1,"]
)
def test_a_fault_that_cannot_be_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        parse_faults(spec)


def test_an_unknown_fault_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="nothing") as caught:
        parse_faults("nothing:every=1")

    assert all(name in str(caught.value) for name in FAULTS)


def outcome(client: Client, vector_id: str) -> int | str:
    """Status of an upsert of one vector, or what broke."""
    try:
        return client.upsert(line(vector_id)).status_code
    except httpx.HTTPError as error:
        return type(error).__name__


def ids(client: Client) -> set[str]:
    return {one[0] for one in client.sandbox.store.read_vectors("docs")}


def test_a_lost_answer_leaves_the_write_taken(start: Start) -> None:
    client = start(fault="lost-answer:every=2")

    outcomes = [outcome(client, str(number)) for number in range(4)]
    assert outcomes == [200, 504, 200, "RemoteProtocolError"] or outcomes[3] == "ReadError"
    assert ids(client) == {"0", "1", "2", "3"}
    assert [record.status for record in client.sandbox.requests] == [200, 504, 200, 0]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("html-502:every=2", {502}),
        ("40041:every=2", {400}),
        ("429:after=1", {429}),
        ("foreign:every=2", {403}),
        ("6003:every=2", {400}),
        ("9109:every=2", {400}),
        ("40026:every=2", {400}),
        ("49999:every=2", {400}),
    ],
)
def test_these_faults_leave_the_write_untaken(start: Start, fault: str, expected: set[int]) -> None:
    client = start(fault=fault)

    assert [outcome(client, "0"), outcome(client, "1") in expected] == [200, True]
    assert ids(client) == {"0"}


def test_a_reset_leaves_the_write_untaken(start: Start) -> None:
    client = start(fault="reset:every=2")

    assert outcome(client, "0") == 200
    assert outcome(client, "1") in {"RemoteProtocolError", "ReadError"}
    assert ids(client) == {"0"}


def test_429_locks_out_for_the_whole_time(start: Start) -> None:
    client = start(fault="429:after=1")

    outcomes = [client.http.get(client.indexes).status_code for _ in range(3)]
    client.clock.advance(300)
    assert outcomes == [200, 429, 429]
    assert client.http.get(client.indexes).status_code == 200


def test_throttled_locks_out_again_and_again(start: Start) -> None:
    client = start(fault="throttled:every=2")

    for _ in range(2):
        outcomes = [client.http.get(client.indexes).status_code for _ in range(3)]
        client.clock.advance(300)
        assert outcomes == [200, 429, 429]
    assert client.sandbox.struck() == {"throttled": 2}


def test_a_garbled_answer_leaves_the_write_taken_and_never_says_so(start: Start) -> None:
    client = start(fault="garbled:every=1")
    seen = set()
    for number in range(12):
        answer = client.upsert(line(str(number)))
        assert answer.status_code == 200
        seen.add(answer.content[:20])
        try:
            document = answer.json()
        except ValueError:
            continue
        assert not isinstance(document, dict) or document["success"] is not True

    assert len(seen) == 6, "in six ways, in turns"
    assert ids(client) == set(map(str, range(12)))


def test_stale_shows_the_state_before_the_last_commit(start: Start) -> None:
    client = start(fault="stale:every=2")
    client.result(client.upsert(line("a", 1.0)))
    client.result(client.upsert(line("a", 2.0)))

    assert [client.get_by_ids("a")[0]["values"][0] for _ in range(4)] == [2.0, 1.0, 2.0, 1.0]


def test_kv_partial_counts_only_bulk_requests(start: Start) -> None:
    client = start(fault="kv-partial:every=2")
    pairs = [{"key": str(number), "value": "v"} for number in range(4)]
    client.read_kv("0")

    assert client.result(client.write_kv(*pairs))["unsuccessful_keys"] == []
    assert client.result(client.write_kv(*pairs))["unsuccessful_keys"] == ["0", "3"]


def test_faults_combine_and_count_apart(start: Start) -> None:
    client = start(fault="slow:ms=1, 40041:every=3 ,html-502:every=4")

    answers = [client.upsert(line(str(number))) for number in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 400, 502]
    assert refusal(answers[2]) == (400, 40041)


def test_refused_ids_are_the_same_every_time_and_refuse_the_whole_upload(start: Start) -> None:
    client = start(fault="refuse-ids:one-in=3")
    outcomes = {name: outcome(client, name) for name in map(str, range(12))}
    bad = next(name for name, status in outcomes.items() if status == 400)

    assert set(outcomes.values()) == {200, 400}
    assert {name for name, status in outcomes.items() if status == 200} == ids(client)
    assert refusal(client.upsert(line("fresh-1"), line(bad))) == (400, 40023)
    assert "fresh-1" not in ids(client)


def test_a_lower_limit_of_the_body_is_the_edges(start: Start) -> None:
    size = len(line("0"))
    client = start(fault=f"413:above={size}")

    assert [outcome(client, "0"), outcome(client, "00")] == [200, 413]
    assert ids(client) == {"0"}
