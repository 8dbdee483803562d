"""Whether a REST answer is Qdrant's own, and what it says.

Proxies, edges, login pages and captive portals answer in Qdrant's place, with any status. Such
an answer says nothing about the collection, the key or the request.
"""

import re
from contextlib import suppress

from migrate.model.canonical import decode_json
from migrate.qdrant.retry import quote
from migrate.transport.answer_words import words_of

EDGE_BYTES = 4096  # of a large answer: what stands around its result
FORM = ("result", "status", "time")
KEY_WORDS_MAX = 300
# Without a valid key Qdrant answers in plain text, the one answer that has another form.
_KEY_WORDS = re.compile(r"\b(api[- ]?key|jwt|bearer token)\b", re.IGNORECASE)


def is_result(body: bytes) -> bool:
    """Whether a body has the form of Qdrant's success: result, status and time.

    Of a large one, and of one that the parser refuses for what a payload holds, only the
    beginning and the end are looked at: the result stands between the other two.
    """
    if len(body) <= 2 * EDGE_BYTES:
        with suppress(ValueError):
            answer = decode_json(body)
            return isinstance(answer, dict) and all(key in answer for key in FORM)
    edges = body[:EDGE_BYTES] + body[-EDGE_BYTES:]
    return body.lstrip()[:1] == b"{" and all(b'"%s"' % key.encode() in edges for key in FORM)


def read_error(status: int, body: bytes) -> str | None:
    """The words of Qdrant's own refusal; None when something else answered."""
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
    """What a reader would see of an answer, in one line, short, without the key."""
    return quote(words_of(body), secret=secret) or "(nothing)"
