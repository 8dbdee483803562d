"""Ids that are made: which form, which bytes, which limits."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.mapping.ids import DIGEST_BITS, collision_bound, hash_long_id
from migrate.model.limits import VECTOR_ID_BYTES_MAX

LONG = "https://example.com/handbook/2026/travel-and-expenses/limits.html#12"


@pytest.mark.fault("D06")
def test_a_long_id_keeps_its_start_and_gets_a_digest() -> None:
    prefix, _, digest = hash_long_id(LONG).partition("~")

    assert prefix == LONG[:31]
    assert digest == "ech3_YR1kFtPsLVxuaJagRnEc6EQ1LKU"
    assert hashlib.sha256(LONG.encode()).hexdigest().startswith("79c877fd8475905b4fb0b571b9a25a81")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_every_text_gets_an_id_that_fits(text: str) -> None:
    made = hash_long_id(text)

    assert len(made.encode()) <= VECTOR_ID_BYTES_MAX
    assert re.fullmatch(r".*~[A-Za-z0-9_-]{32}", made, re.DOTALL)
    assert text.startswith(made[:-33])


@given(st.text("ab~", max_size=80), st.text("ab~", max_size=80))
def test_two_texts_get_two_ids(one: str, other: str) -> None:
    assert (hash_long_id(one) == hash_long_id(other)) == (one == other)


def test_the_bound_is_that_of_the_birthday() -> None:
    assert DIGEST_BITS == 192
    assert collision_bound(0) == collision_bound(1) == 0
    assert collision_bound(2) == 2 / 2**193
    assert collision_bound(10**6) < 1e-46
