"""What an answer says in words, when it is not what was asked for: a page, a line of text, JSON.

The words of others end up in messages. They are taken out of HTML before secrets are masked, so
that a secret that markup or character references cut in pieces is found as well.
"""

import re
from html import unescape

READ_BYTES_MAX = 64 * 1024  # of a page: the sentence that matters stands near its beginning

_NOT_SHOWN = re.compile(
    r"<(script|style|svg|noscript)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.IGNORECASE | re.DOTALL
)
_BLOCK = re.compile(
    r"<(?:/?(?:p|div|h[1-6]|li|ul|ol|tr|td|title|head|body|br|hr|center)\b[^<>]*)>",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[!/?a-z][^<>]*>", re.IGNORECASE)
_PAGE = re.compile(r"\s*(?:<!doctype\s+html|<html|<head|<body|<title|<\?xml)", re.IGNORECASE)
# Marks that no reader sees; between the letters of a secret they would hide it from the mask.
_UNSEEN = re.compile("[\u00ad\u180e\u200b-\u200f\u2060-\u2064\ufeff]")


def words_of(body: bytes) -> str:
    """The text of a body in one line: of a page what a reader would see, of others all of it.

    Not masked and not cut yet.
    """
    text = body[:READ_BYTES_MAX].decode(errors="replace")
    if _PAGE.match(text):
        text = _TAG.sub("", _BLOCK.sub(" ", _NOT_SHOWN.sub("", text)))
        text = unescape(text)
    return " ".join(_UNSEEN.sub("", text).split())


def is_page(content_type: str | None) -> bool:
    """Whether a content type names HTML: no value of a store is served as that."""
    return (content_type or "").partition(";")[0].strip().lower() in {
        "text/html",
        "application/xhtml+xml",
    }
