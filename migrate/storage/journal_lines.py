"""The lines of a journal: JSON objects, each tied to all lines before it by SHA-256. Pure."""

import hashlib
from typing import NewType

from migrate.errors import ForeignStateError
from migrate.model.canonical import decode_json, encode_canonical_json

JOURNAL_FORMAT = 1


Entry = dict[str, object]  # always holds "type"


Chain = NewType("Chain", str)  # hex SHA-256 over all lines so far


CHAIN_START = Chain(hashlib.sha256(b"q2v journal 1\n").hexdigest())


_CHAIN_SUFFIX_BYTES = len(',"chain":"') + 64 + len('"}')


def encode_line(entry: Entry, previous: Chain) -> tuple[bytes, Chain]:
    """The entry's line, newline included, and the chain after it.

    The line is one JSON object whose last member, `chain`, is SHA-256 over the previous chain and
    the bytes of the line before `,"chain"`. Changing, dropping or swapping lines breaks it.
    """
    body = encode_canonical_json(entry)[:-1]
    chain = Chain(hashlib.sha256(previous.encode() + body).hexdigest())
    return body + b',"chain":"' + chain.encode() + b'"}\n', chain


def decode_line(line: bytes, previous: Chain) -> tuple[Entry, Chain]:
    """The inverse of `encode_line`; `line` without its newline.

    Raises ValueError when the line is not the one that was written after `previous`.
    """
    body = line[:-_CHAIN_SUFFIX_BYTES]
    chain = Chain(hashlib.sha256(previous.encode() + body).hexdigest())
    if line != body + b',"chain":"' + chain.encode() + b'"}':
        raise ValueError("the line does not continue the chain of the lines before it")
    entry = decode_json(body + b"}")
    if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
        raise ValueError("the line is no journal entry")  # noqa: TRY004 - bad data, not a bug
    return entry, chain


def check_format(entry: Entry) -> None:
    """Raises ForeignStateError unless a journal's first entry has the format we know."""
    if entry.get("format") != JOURNAL_FORMAT:
        raise ForeignStateError(
            f"the journal has format version {entry.get('format')!r}, this q2v reads "
            f"{JOURNAL_FORMAT}",
            remedy="use the q2v that wrote it",
        )
