"""Read the answers of Workers KV and encode its bulk bodies (docs/services.md). Pure."""

import base64
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import orjson

from migrate.cloudflare.client.api import (
    Answer,
    UnusableAnswerError,
    member,
    objects_of,
    optional_member,
    result_of,
    texts_of,
)
from migrate.model.records import KvEntry

REPLACEMENT = "\ufffd"  # replaces bytes that are no UTF-8; a value may also hold it itself


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPage:
    """One page of a listing. It may be empty although more pages follow."""

    entries: list[KvEntry]  # without values
    next_cursor: str | None  # None on the last page


def encode_bulk_write(entries: Sequence[KvEntry]) -> bytes:
    """The body of a bulk write: values as text, or as base64 where they are no UTF-8."""
    return orjson.dumps([_encode_pair(entry) for entry in entries])


def _encode_pair(entry: KvEntry) -> dict[str, object]:
    pair: dict[str, object] = {"key": entry.key}
    try:
        pair["value"] = entry.value.decode()
    except UnicodeDecodeError:
        pair |= {"value": base64.b64encode(entry.value).decode(), "base64": True}
    if entry.metadata is not None:
        pair["metadata"] = entry.metadata
    if entry.expiration is not None:
        pair["expiration"] = entry.expiration
    return pair


def read_bulk_result(answer: Answer, sent: Sequence[str]) -> list[str]:
    """The keys that did not succeed, in the order sent; all of them if the counts do not add up.

    Raises UnusableAnswerError for an answer without a count of successes.
    """
    record = result_of(answer, dict, "the counts of a bulk request")
    succeeded = member(record, "successful_key_count", int, "the bulk result")
    listed = optional_member(record, "unsuccessful_keys", list, "the bulk result") or []
    failed = set(texts_of(listed, "the unsuccessful keys"))
    if not failed <= set(sent):
        raise UnusableAnswerError("with unsuccessful keys that were not sent")
    if succeeded + len(failed) != len(sent):
        return list(sent)
    return [key for key in sent if key in failed]


def read_values(answer: Answer, wanted: Collection[str]) -> dict[str, KvEntry]:
    """The entries that exist among the keys. The answer holds every key, with null if absent."""
    record = result_of(answer, dict, "values")
    values = member(record, "values", dict, "the bulk read")
    if set(values) != set(wanted):
        raise UnusableAnswerError("with values for other keys than were asked for")
    return {key: _read_value(key, value) for key, value in values.items() if value is not None}


def _read_value(key: str, value: object) -> KvEntry:
    if not isinstance(value, dict):
        raise UnusableAnswerError("with a value without its metadata")
    text = member(value, "value", str, "a value")
    return KvEntry(key=key, value=text.encode(), metadata=value.get("metadata"))


def read_metadata(answer: Answer) -> object:
    """The metadata of one key: any JSON value, None when it has none."""
    assert answer.envelope is not None
    return answer.envelope.result


def needs_raw_reading(entry: KvEntry) -> bool:
    """Whether bytes of the value may have been replaced because they were no UTF-8."""
    return REPLACEMENT in entry.value.decode()


def read_keys(answer: Answer, prefix: str) -> KeyPage:
    """One page of keys. Raises UnusableAnswerError for a key outside of the prefix."""
    entries = [
        KvEntry(
            key=member(record, "name", str, "a key"),
            value=b"",
            metadata=record.get("metadata"),
            expiration=_read_expiration(record),
        )
        for record in objects_of(result_of(answer, list, "a list of keys"), "the keys")
    ]
    if not all(entry.key.startswith(prefix) for entry in entries):
        raise UnusableAnswerError("with keys outside of the prefix")
    assert answer.envelope is not None
    cursor = optional_member(answer.envelope.result_info, "cursor", str, "the page")
    return KeyPage(entries=entries, next_cursor=cursor or None)


def _read_expiration(record: dict[str, object]) -> int | None:
    """Unix seconds; the service sends them as an integer or as a float."""
    expiration = record.get("expiration")
    if isinstance(expiration, float) and expiration.is_integer():
        return int(expiration)
    return optional_member(record, "expiration", int, "a key")
