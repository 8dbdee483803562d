"""The searcher itself: what it would miss, every test that calls it would miss."""

import base64
import html
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.running.secrecy import assert_secret_absent

pytestmark = pytest.mark.fault("X02", "I10")

TOKENS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=16, max_size=40)
FORMS: list[Callable[[str], str]] = [
    str,
    str.upper,
    repr,
    json.dumps,
    lambda text: json.dumps(json.dumps(text)),
    quote,
    lambda text: quote(text, safe=""),
    lambda text: quote(text, safe="").lower(),
    lambda text: html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
    lambda text: text.encode().hex(),
    lambda text: base64.b64encode(text.encode()).decode(),
    lambda text: base64.urlsafe_b64encode(f"user:{text}".encode()).decode(),
    lambda text: base64.b64encode(f"a{text}b".encode()).decode(),
]


@given(token=TOKENS, form=st.sampled_from(FORMS), before=st.text(max_size=9))
def test_a_secret_is_found_in_any_form(token: str, form: Callable[[str], str], before: str) -> None:
    with pytest.raises(AssertionError, match="a form of the secret is in text 1") as caught:
        assert_secret_absent(token, texts=["clean", f"{before} {form(token)}."])

    assert token not in str(caught.value)


@given(token=TOKENS)
def test_a_secret_is_not_found_where_it_is_not(token: str) -> None:
    assert_secret_absent(token, texts=["", token[1:], token[:-1], "x" * 1000, b"\xff\x00"])


def test_files_their_names_and_folders_are_searched(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "log").write_bytes(b"\x00Bearer hunter2hunter2hunter2\xff")
    with pytest.raises(AssertionError, match="log, at byte 8"):
        assert_secret_absent("hunter2hunter2hunter2", [tmp_path])
    (tmp_path / "a" / "log").rename(tmp_path / "a" / "hunter2hunter2hunter2.log")
    with pytest.raises(AssertionError, match="the name of"):
        assert_secret_absent("hunter2hunter2hunter2", [tmp_path])

    assert_secret_absent("another-secret-of-some-length", [tmp_path, tmp_path / "none"])
