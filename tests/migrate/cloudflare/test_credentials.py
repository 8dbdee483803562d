"""A key that can do more than it needs is told of, as far as it can be seen."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.cloudflare.credentials import source_key_notes, target_token_notes

pytestmark = pytest.mark.fault("X12")

EXPIRES = {"exp": 1_900_000_000}


def jwt(claims: object, head: object = None) -> str:
    parts = ({"alg": "HS256", "typ": "JWT"} if head is None else head, claims)
    texts = [base64.urlsafe_b64encode(json.dumps(each).encode()).decode() for each in parts]
    return ".".join([*(text.rstrip("=") for text in texts), "signature"])


def read(*collections: str, access: str = "r") -> list[dict[str, str]]:
    return [{"collection": name, "access": access} for name in collections]


def test_a_key_that_reads_this_collection_alone_and_ends_is_not_mentioned() -> None:
    assert source_key_notes(jwt({"access": read("c"), **EXPIRES}), "c") == ()


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"access": "m", **EXPIRES}, "can write and manage the whole server"),
        ({**EXPIRES}, "can write and manage the whole server"),
        ({"access": 5, **EXPIRES}, "can write and manage the whole server"),
        ({"access": "r", **EXPIRES}, "can read every collection"),
        ({"access": read("c", access="rw"), **EXPIRES}, "can write to collection 'c'"),
        ({"access": read("c", access="prw"), **EXPIRES}, "can write to collection 'c'"),
        ({"access": read("c") + read("d", access="rw"), **EXPIRES}, "write to collection 'd'"),
        ({"access": ["odd"], **EXPIRES}, "can write to collection 'None'"),
        ({"access": read("c", "d", "e"), **EXPIRES}, "can read 2 other collections"),
        ({"access": read("c")}, "never expires"),
    ],
)
def test_rights_beyond_reading_this_collection_are_told(claims: object, told: str) -> None:
    (note,) = source_key_notes(jwt(claims), "c")

    assert told in note


@pytest.mark.parametrize("key", ["plain", "a.b.c", "..", jwt([]), jwt({}, head=[]), "é.é.é"])
def test_of_a_plain_key_nothing_is_claimed(key: str) -> None:
    (note,) = source_key_notes(key, "c")

    assert "does not show whether it can write" in note


@given(st.text(max_size=40))
def test_no_key_breaks_the_look_at_it_or_is_repeated(key: str) -> None:
    for text in (key, f"{key}.{key}.{key}"):
        notes = "".join(source_key_notes(text, "c"))
        assert notes
        assert len(key) < 8 or key not in notes


@pytest.mark.parametrize(
    ("token", "expires", "told"),
    [
        ("cfut_abc", "2027-01-01T00:00:00Z", []),
        ("abc", None, ["no expiry"]),
        ("cfk_abc", "2027-01-01T00:00:00Z", ["global API key"]),
        ("cfoat_abc", None, ["login of wrangler", "no expiry"]),
    ],
)
def test_a_token_of_the_target_that_does_too_much_or_never_ends_is_told(
    token: str, expires: str | None, told: list[str]
) -> None:
    notes = target_token_notes(token, expires)

    assert len(notes) == len(told)
    assert all(text in note for text, note in zip(told, notes, strict=True))
    assert token not in "".join(notes)
