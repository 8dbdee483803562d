"""No form of a secret survives in a text that people read."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.transport.masking import MASK, mask_secrets, printable

SECRETS = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP0123456789_-.~+=:", min_size=12, max_size=40
)


@pytest.mark.fault("X02")
@given(SECRETS, st.binary(max_size=5), st.binary(max_size=5))
def test_every_usual_form_of_a_secret_is_masked(secret: str, before: bytes, after: bytes) -> None:
    """Plain, upper case, percent-encoded, inside JSON, inside base64 at any offset."""
    encoded = base64.b64encode(before + secret.encode() + after).decode()
    for form in (
        secret,
        secret.upper(),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret),
    ):
        masked = mask_secrets(f"<{form}>", [secret])

        assert secret.lower() not in masked.lower()
        assert MASK in masked
    assert MASK in mask_secrets(encoded, [secret])


def test_an_empty_secret_masks_nothing() -> None:
    assert mask_secrets("text", [""]) == "text"


@pytest.mark.fault("X06")
def test_texts_of_others_become_one_harmless_line() -> None:
    assert printable("a\x1b[31m\nb\u202e", characters_max=50) == r"a\u001b[31m\u000ab\u202e"
    assert printable("x" * 60, characters_max=50) == "x" * 50 + "..."
