"""Extract readable text from an answer that is not the expected one: HTML, plain text or JSON.

Messages quote this text. HTML markup is removed before secrets are masked, so that a secret that
is divided by tags or written with character references is found as well.
"""

import re
from html import unescape

READ_BYTES_MAX = 64 * 1024  # of a page; the relevant sentence is near its beginning

_NOT_SHOWN = re.compile(
    r"<(script|style|svg|noscript)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.IGNORECASE | re.DOTALL
)
_BLOCK = re.compile(
    r"<(?:/?(?:p|div|h[1-6]|li|ul|ol|tr|td|title|head|body|br|hr|center)\b[^<>]*)>",
    re.IGNORECASE,
)
_TITLE = re.compile(r"<title\b[^<>]*>([^<]*)</title\s*>", re.IGNORECASE)
_TAG = re.compile(r"<[!/?a-z][^<>]*>", re.IGNORECASE)
_PAGE = re.compile(r"\s*(?:<!doctype\s+html|<html|<head|<body|<title|<\?xml)", re.IGNORECASE)
# Invisible characters; between the letters of a secret they would prevent masking.
_UNSEEN = re.compile("[\u00ad\u180e\u200b-\u200f\u2060-\u2064\ufeff]")


def words_of(body: bytes) -> str:
    """The text of a body in one line: the visible text of an HTML page, else the whole body.

    A title that the page repeats, as the error pages of servers do, is left out. Secrets are not
    masked here. Reads at most READ_BYTES_MAX bytes.
    """
    text = body[:READ_BYTES_MAX].decode(errors="replace")
    if not _PAGE.match(text):
        return _one_line(text)
    shown = _NOT_SHOWN.sub("", text)
    title = _TITLE.search(shown)
    if title is not None:
        rest = _words_of_page(shown[: title.start()] + " " + shown[title.end() :])
        if f" {_words_of_page(title[1])} " in f" {rest} ":
            return rest
    return _words_of_page(shown)


def _words_of_page(page: str) -> str:
    return _one_line(unescape(_TAG.sub("", _BLOCK.sub(" ", page))))


def _one_line(text: str) -> str:
    return " ".join(_UNSEEN.sub("", text).split())


def is_page(content_type: str | None) -> bool:
    """Whether a content type is that of HTML, which the service never uses for a KV value."""
    return (content_type or "").partition(";")[0].strip().lower() in {
        "text/html",
        "application/xhtml+xml",
    }
