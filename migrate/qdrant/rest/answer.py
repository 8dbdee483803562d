"""Check that a REST answer comes from Qdrant, and read its error.

A proxy, an edge, a login page or a captive portal may answer instead, with any status. Such an
answer says nothing about the collection, the key or the request.
"""

import re
from contextlib import suppress

from migrate.model.canonical import decode_json
from migrate.qdrant.retry import quote_words
from migrate.transport.answer_words import words_of

EDGE_BYTES = 4096  # at the start and at the end of a large answer, around its result
FORM = ("result", "status", "time")
KEY_WORDS_MAX = 300
# Without a valid key Qdrant answers in plain text; all other answers are JSON.
_KEY_WORDS = re.compile(r"\b(api[- ]?key|jwt|bearer token)\b", re.IGNORECASE)


def is_result(body: bytes) -> bool:
    """Whether a body has the form of Qdrant's success: result, status and time.

    For a large body, and for one that the parser refuses because of a payload, only the beginning
    and the end are searched: the result is between the other two members.
    """
    if len(body) <= 2 * EDGE_BYTES:
        with suppress(ValueError):
            answer = decode_json(body)
            return isinstance(answer, dict) and all(key in answer for key in FORM)
    edges = body[:EDGE_BYTES] + body[-EDGE_BYTES:]
    return body.lstrip()[:1] == b"{" and all(b'"%s"' % key.encode() in edges for key in FORM)


def read_error(status: int, body: bytes) -> str | None:
    """The text of a refusal by Qdrant; None when something else answered."""
    try:
        answer = decode_json(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        found = answer.get("status")
        error = found.get("error") if isinstance(found, dict) else None
        return error if isinstance(error, str) else None
    text = body.decode(errors="replace").strip()
    plain = len(body) <= KEY_WORDS_MAX and "<" not in text
    return text if status in {401, 403} and plain and _KEY_WORDS.search(text) else None


def show_words(body: bytes, secret: str | None) -> str:
    """The visible text of an answer in one line, shortened, without the key."""
    return quote_words(words_of(body), secret=secret) or "(nothing)"
