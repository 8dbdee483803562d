"""What an edge, a proxy or a login page answers is not the service's word about anything."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from migrate.cloudflare.client.api import ApiRequest, Operation
from migrate.cloudflare.kv import WorkersKvTarget
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.errors import AccessError, BudgetExhaustedError, RemoteUnavailableError
from migrate.transport.answer_words import READ_BYTES_MAX, words_of
from tests.harness.fakes.clock import VirtualClock
from tests.migrate.cloudflare.clients import ACCOUNT_ID, ATTEMPTS_MAX, TOKEN, Talker, scripted
from tests.servers.scripted_http import Reply, Seen, envelope, failure

CASES = Path(__file__).parents[3] / "cases" / "04-anothers-answer-cloudflare" / "answers.json"
ANSWERS: list[dict[str, Any]] = json.loads(CASES.read_text(encoding="utf-8"))
GET = ApiRequest(
    operation=Operation(name="read something", scope="Vectorize: Read"),
    method="GET",
    path="/something",
)
TAKEN = envelope({"mutationId": "m1"})


def reply(answer: Mapping[str, Any]) -> Reply:
    headers = {"Content-Type": answer["content_type"], **answer.get("headers", {})}
    return Reply(status=answer["status"], body=answer["body"].encode(), headers=headers)


@pytest.mark.fault("F04", "N08", "N09")
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer["name"])
def test_it_is_retried_and_then_unavailable_with_its_own_words(answer: dict[str, Any]) -> None:
    talker = Talker()
    with scripted([reply(answer)], progress=talker) as (server, http):
        with pytest.raises(RemoteUnavailableError) as stop:
            http.send(GET, lambda _: None)

        assert len(server.requests) == ATTEMPTS_MAX
    assert answer["words"] in str(stop.value)
    assert answer["words"] in talker.said[0]
    assert str(answer["status"]) in str(stop.value)
    assert "a proxy" in stop.value.remedy
    assert "token" not in stop.value.remedy
    assert "not for readers" not in str(stop.value)


@pytest.mark.fault("F04", "N16")
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer["name"])
def test_an_upload_is_taken_once_the_service_answers_again(answer: dict[str, Any]) -> None:
    with scripted([reply(answer), reply(answer), TAKEN]) as (server, http):
        accepted = VectorizeTarget(http, "docs").upsert([b'{"id":"a","values":[1]}'])

        assert accepted.mutation_id == "m1"
        assert len({seen.body_sha256 for seen in server.requests}) == 1


def _after(answer: Mapping[str, Any], *good: Reply) -> list[Reply]:
    return [reply(answer), *good]


@pytest.mark.fault("F04", "K04")
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer["name"])
def test_no_page_is_an_absent_index_an_absent_key_or_a_value(answer: dict[str, Any]) -> None:
    described = {
        "name": "docs",
        "config": {"dimensions": 32, "metric": "cosine"},
        "created_on": "2026-11-01T00:00:00Z",
    }
    with scripted(_after(answer, envelope(described))) as (_, http):
        found = VectorizeTarget(http, "docs").read_index()
    assert found is not None

    # The text of the bulk read has lost bytes, so that the value itself is asked for.
    bulk = envelope({"values": {"k": {"value": "\ufffd", "metadata": None}}})
    value = Reply(body=b"\xff", headers={"Content-Type": "application/octet-stream"})
    with scripted([bulk, reply(answer), value]) as (server, http):
        entries = WorkersKvTarget(http, "n").read(["k"])
        assert len(server.requests) == 3
    assert entries["k"].value == b"\xff"


@pytest.mark.fault("F04", "R04")
def test_a_page_in_the_middle_of_a_listing_does_not_end_it() -> None:
    first = envelope(
        {
            "count": 1,
            "totalCount": 2,
            "isTruncated": True,
            "nextCursor": "c",
            "vectors": [{"id": "a"}],
        }
    )
    last = envelope({"count": 1, "totalCount": 2, "isTruncated": False, "vectors": [{"id": "b"}]})
    page = reply(next(one for one in ANSWERS if one["name"] == "a proxy's 404"))
    with scripted([first, page, last]) as (_, http):
        listed = list(VectorizeTarget(http, "docs").list_ids())

    assert listed == [["a"], ["b"]]


@pytest.mark.fault("F04", "X02")
@pytest.mark.parametrize(
    "echo",
    [
        TOKEN,
        f"{TOKEN[:7]}<b></b>{TOKEN[7:]}",
        f"{TOKEN[:7]}<wbr>{TOKEN[7:]}",
        f"{TOKEN[:7]}\u200b{TOKEN[7:]}",
        f"{TOKEN[:7]}<!-- x -->{TOKEN[7:]}",
        "".join(f"&#{ord(letter)};" for letter in TOKEN),
        "".join(f"&#x{ord(letter):x};" for letter in ACCOUNT_ID),
    ],
)
def test_a_page_that_repeats_a_secret_is_shown_without_it(echo: str) -> None:
    page = Reply(
        status=403,
        body=f"<html><body><p>Denied: {echo} &#27;[31m\x1b[31m</p></body></html>".encode(),
        headers={"Content-Type": "text/html"},
    )
    with scripted([page]) as (_, http), pytest.raises(RemoteUnavailableError) as stop:
        http.send(GET, lambda _: None)

    shown = str(stop.value)
    assert "Denied" in shown
    assert TOKEN not in shown
    assert TOKEN[7:] not in shown
    assert ACCOUNT_ID not in shown
    assert shown.isprintable()


def test_the_words_of_a_large_page_are_found_quickly_and_shown_short() -> None:
    for filling in (b"<", b"<!--", b"<script>", b"<p ", b"&", b"<a b='", b"\x00", b"\xff"):
        words_of(b"<html>" + filling * READ_BYTES_MAX)  # ends, whatever it says
    page = Reply(status=403, body=b"<html><body>" + b"Denied. " * 50_000 + b"</body></html>")
    with scripted([page]) as (_, http), pytest.raises(RemoteUnavailableError) as stop:
        http.send(GET, lambda _: None)

    assert len(str(stop.value)) < 500


@pytest.mark.fault("F05", "F10", "N11")
@pytest.mark.parametrize(
    ("code", "remedy"),
    [(6003, "copy the API token again"), (9109, "address of this machine"), (10000, "Read")],
)
@pytest.mark.parametrize("status", [400, 401, 403])
def test_codes_of_the_token_are_matters_of_access_whatever_the_status(
    status: int, code: int, remedy: str
) -> None:
    with scripted([failure(status, (code, "no"))]) as (server, http):
        with pytest.raises(AccessError, match=f"code {code}") as denied:
            http.send(GET, lambda _: None)

        assert len(server.requests) == 1
    assert remedy in denied.value.remedy


@pytest.mark.fault("F07")
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (failure(429, (10048, "daily KV limit reached")), ["code 10048", "daily KV limit reached"]),
        (failure(429, (12345, "per day: 1,000 puts")), ["code 12345", "per day: 1,000 puts"]),
        (failure(400, (40026, "quota exceeded")), ["code 40026", "quota exceeded"]),
        (
            failure(429, (971, "no more"), Retry_After="86400"),
            ["code 971", "no more", "86400 s"],
        ),
    ],
)
def test_a_quota_ends_the_run_at_once_with_code_and_sentence(
    answer: Reply, said: list[str]
) -> None:
    clock = VirtualClock()
    with scripted([answer], clock=clock) as (server, http):
        with pytest.raises(BudgetExhaustedError) as stop:
            http.send(GET, lambda _: None)

        assert len(server.requests) == 1
    assert clock.waits == []
    assert all(text in str(stop.value) for text in said)
    assert "it resumes" in stop.value.remedy


@pytest.mark.fault("F07", "N02")
def test_a_block_that_does_not_end_is_waited_for_ten_minutes_at_most() -> None:
    """The first of them is shown with its code and sentence before the silence begins."""
    clock, talker = VirtualClock(), Talker()
    answer = failure(429, (971, "Please wait"))
    with scripted([answer], clock=clock, progress=talker) as (server, http):
        with pytest.raises(BudgetExhaustedError, match="code 971, 'Please wait'"):
            http.send(GET, lambda _: None)

        assert len(server.requests) == 3
    assert 600 <= clock.monotonic_s() < 602
    assert "code 971, 'Please wait'" in talker.said[0]


@pytest.mark.fault("F04", "N02")
def test_a_429_page_of_another_is_silence_as_well() -> None:
    clock = VirtualClock()

    def answer(seen: Seen) -> Reply:
        return TAKEN if clock.monotonic_s() >= 300 else Reply(status=429, body=b"error code: 1015")

    with scripted(answer, clock=clock) as (server, http):
        http.send(GET, lambda _: None)

        assert len(server.requests) == 2
