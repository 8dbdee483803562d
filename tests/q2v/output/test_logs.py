"""Masking: whatever form a secret takes on its way out, it does not get out."""

import base64
import io
import json
import logging
import os
import string
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from q2v.output.logs import MASK, Masker, masked_logging

VISIBLE = "".join(set(string.printable) - set(string.whitespace)) + " "
TOKENS = st.text(VISIBLE, min_size=8, max_size=40).filter(lambda text: text.strip() == text)
ANY_TEXT = st.text(min_size=8, max_size=40)

FORMS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "upper": lambda text: text.upper() if text.isascii() else text,
    "url": quote,
    "url, all": lambda text: quote(text, safe=""),
    "url, form": quote_plus,
    "url, lower case": lambda text: quote(text, safe="").lower(),
    "url, twice": lambda text: quote(quote(text, safe=""), safe=""),
    "json": lambda text: json.dumps(text)[1:-1],
    "json, unicode": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "json, nested": lambda text: json.dumps(json.dumps(text))[3:-3],
    "json, slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "repr": lambda text: repr(text)[1:-1],
    "bytes": lambda text: repr(text.encode())[2:-1],
    "hex": lambda text: text.encode().hex(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, url": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64, no padding": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "base64, in url": lambda text: quote(base64.b64encode(text.encode()).decode(), safe=""),
}


@pytest.mark.fault("X02")
@given(token=ANY_TEXT)
def test_a_registered_secret_is_masked_in_every_form(token: str) -> None:
    masker = Masker()
    masker.register(token)
    masked = {form: masker.mask(f"<{write(token)}>") for form, write in FORMS.items()}

    assert dict.fromkeys(FORMS, f"<{MASK}>") == masked


@pytest.mark.fault("X02")
@given(token=TOKENS, before=st.text("ab:", max_size=5), after=st.text("ab:", max_size=5))
def test_a_secret_within_a_longer_base64_text_is_masked(
    token: str, before: str, after: str
) -> None:
    """As in an Authorization header: user and password in one text."""
    masker = Masker()
    masker.register(token)
    written = base64.b64encode(f"{before}{token}{after}".encode()).decode()
    masked = masker.mask(f"Basic {written}")

    offset = len(before) % 3
    core = base64.b64encode(f"{'x' * offset}{token}".encode()).decode().rstrip("=")[4:-1]
    assert MASK in masked
    assert core not in masked


@pytest.mark.fault("X02")
@given(token=TOKENS, form=st.sampled_from(sorted(set(FORMS) - {"upper"})))
def test_a_traceback_shows_no_secret_of_any_exception_in_the_chain(token: str, form: str) -> None:
    """Causes, contexts, notes and groups."""
    masker = Masker()
    masker.register(token)
    written = FORMS[form](token)
    with pytest.raises(ExceptionGroup) as group:
        raise_chain(token, written)
    trace = masker.mask_traceback(group.value)

    assert token not in trace
    assert written not in trace
    assert "KeyError" in trace
    assert trace.count(MASK) >= 4


def raise_chain(token: str, written: str) -> None:
    """An exception of every kind of relation, each showing the secret."""
    try:
        _ = os.environ[written]
    except KeyError as error:
        error.add_note(f"note {token}")
        failure = OSError(5, written, token)
        failure.__cause__ = error
        raise ExceptionGroup(f"group {written}", [failure, ValueError(token)]) from None


@pytest.fixture
def logged() -> Iterator[tuple[Masker, io.StringIO]]:
    """The process's logging, masked, into a text."""
    masker, stream = Masker(), io.StringIO()
    with masked_logging(masker, stream):
        yield masker, stream


@pytest.mark.fault("X02")
def test_records_of_any_logger_are_masked_for_any_handler(
    logged: tuple[Masker, io.StringIO], caplog: pytest.LogCaptureFixture
) -> None:
    masker, stream = logged
    masker.register("hunter2hunter2")
    logger = logging.getLogger("httpx.of.somebody.else")

    try:
        int("-".join(["body", "hunter2hunter2"]))
    except ValueError:
        logger.exception("sent %s", ["hunter2hunter2"])
    logger.warning("two of %s", "hunter2hunter2", stack_info=True)

    for text in (stream.getvalue(), caplog.text, repr([r.__dict__ for r in caplog.records])):
        assert "sent ['***']" in text
        assert "ValueError: invalid literal" in text
        assert "body-***" in text
        assert "hunter2" not in text


@pytest.mark.fault("X02")
def test_every_header_of_a_debug_log_is_masked(logged: tuple[Masker, io.StringIO]) -> None:
    """The target's token and the source's key may stand in one line."""
    masker, stream = logged
    headers = [(b"Authorization", b"Bearer hunter2hunter2"), (b"api-key", b"hunter3hunter3")]
    for secret in ("hunter2hunter2", "hunter3hunter3"):
        masker.register(secret)
    logging.getLogger("httpcore.http11").warning("send_request_headers %r", headers)

    assert "(b'Authorization', b'Bearer ***'), (b'api-key', b'***')" in stream.getvalue()


def test_a_message_whose_arguments_do_not_fit_is_logged_without_them(
    logged: tuple[Masker, io.StringIO],
) -> None:
    _, stream = logged
    logging.getLogger("q2v.test").warning("only %d", "hunter2hunter2")

    assert "arguments do not fit" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


@pytest.mark.fault("X06")
def test_control_characters_in_a_log_line_are_escaped(logged: tuple[Masker, io.StringIO]) -> None:
    _, stream = logged
    logging.getLogger("q2v.test").warning("name \x1b[2J\x9b2K \u202e")

    assert "name \\x1b[2J\\x9b2K \\u202e\n" in stream.getvalue()


@pytest.mark.fault("X02")
def test_the_last_resorts_of_the_interpreter_mask_too(logged: tuple[Masker, io.StringIO]) -> None:
    """A thread that dies, and an exception nobody catches."""
    masker, stream = logged
    masker.register("hunter2hunter2")

    def die() -> None:
        raise RuntimeError("-".join(["hunter2hunter2"]))

    thread = threading.Thread(target=die)
    thread.start()
    thread.join()
    error = RuntimeError("-".join(["hunter2hunter2"]))
    sys.excepthook(RuntimeError, error, None)

    assert stream.getvalue().count("RuntimeError: ***") == 2


def test_logging_is_left_as_it_was_found() -> None:
    before = (logging.getLogRecordFactory(), sys.excepthook, tuple(logging.getLogger().handlers))
    with suppress(RuntimeError), masked_logging(Masker(), io.StringIO()):
        raise RuntimeError

    assert before == (
        logging.getLogRecordFactory(),
        sys.excepthook,
        tuple(logging.getLogger().handlers),
    )


def test_an_empty_secret_masks_nothing() -> None:
    masker = Masker()
    masker.register("")

    assert masker.mask("text") == "text"


@pytest.mark.slow
def test_masking_long_runs_of_backslashes_stays_fast() -> None:
    """Escapes nest, so the pattern allows any number of them, but tries each place once."""
    masker = Masker()
    masker.register("\\\\a\\\\b%25%25" * 5)

    assert masker.mask("\\" * 10_000 + "%25" * 5_000).startswith("\\")
