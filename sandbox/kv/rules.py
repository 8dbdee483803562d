"""The rules of Workers KV for keys, values, metadata, expiry, and pairs of a bulk write."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from sandbox.errors import invalid_kv
from sandbox.limits import (
    KV_INSTANT_KEY_BYTES_MAX,
    KV_INSTANT_VALUE_BYTES_MAX,
    KV_KEY_BYTES_MAX,
    KV_METADATA_BYTES_MAX,
    KV_PAIRS_MAX,
    KV_TTL_S_MIN,
    KV_VALUE_BYTES_MAX,
    KV_VALUES_MAX,
)

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SECONDS_MAX = 10**11  # the year 5138; a number beyond it is a mistake
_MEMBERS = {"key", "value", "metadata", "expiration", "expiration_ttl", "base64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KvPair:
    """One entry to write, checked."""

    key: str
    value: bytes
    metadata: bytes | None = None  # compact JSON
    expiration: int | None = None  # Unix seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class KvLimits:
    """What one entry of a namespace may be."""

    key_bytes_max: int = KV_KEY_BYTES_MAX
    value_bytes_max: int = KV_VALUE_BYTES_MAX
    metadata: bool = True


ORDINARY = KvLimits()
KV_INSTANT = KvLimits(
    key_bytes_max=KV_INSTANT_KEY_BYTES_MAX,
    value_bytes_max=KV_INSTANT_VALUE_BYTES_MAX,
    metadata=False,
)


def check_pair(pair: KvPair, limits: KvLimits) -> KvPair:
    """The pair. Raises ServiceError for one that its namespace does not take."""
    check_key(pair.key, limits.key_bytes_max)
    check_value(pair.value, limits.value_bytes_max)
    if pair.metadata is not None and not limits.metadata:
        raise invalid_kv("metadata is not supported by namespaces of mode instant")
    return pair


def check_key(key: object, bytes_max: int = KV_KEY_BYTES_MAX) -> str:
    """The key. Raises ServiceError for one that KV does not take."""
    if not isinstance(key, str) or key in {"", ".", ".."}:
        raise invalid_kv("key must be a non-empty string other than '.' and '..'")
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise invalid_kv("key is not valid Unicode") from error
    if size > bytes_max:
        text = f"UTF-8 encoded length of {size} exceeds key length limit of {bytes_max}"
        raise invalid_kv(text, status=414)
    return key


def check_value(value: bytes, bytes_max: int = KV_VALUE_BYTES_MAX) -> bytes:
    """The value. Raises ServiceError above 25 MiB, or above the limit of its namespace."""
    if len(value) > bytes_max:
        text = f"value length of {len(value)} exceeds limit of {bytes_max}"
        raise invalid_kv(text, status=413)
    return value


def check_metadata(metadata: object) -> bytes | None:
    """Metadata as compact JSON; any JSON will do."""
    if metadata is None:
        return None
    try:
        text = orjson.dumps(metadata)
    except TypeError as error:
        raise invalid_kv("metadata is not valid JSON") from error
    if len(text) > KV_METADATA_BYTES_MAX:
        size_max = KV_METADATA_BYTES_MAX
        text_refused = f"metadata length of {len(text)} exceeds limit of {size_max}"
        raise invalid_kv(text_refused, status=413)
    return text


def check_expiry(expiration: object, ttl: object, *, now: float) -> int | None:
    """The moment an entry ends; the time to live wins over the absolute time."""
    for moment in (expiration, ttl):
        if moment is not None and (type(moment) is not int or moment > _SECONDS_MAX):
            raise invalid_kv("expiration and expiration_ttl are whole seconds")
    if isinstance(ttl, int):
        if ttl < KV_TTL_S_MIN:
            raise invalid_kv(f"expiration_ttl of {ttl} is less than {KV_TTL_S_MIN}")
        return int(now) + ttl
    if isinstance(expiration, int):
        if expiration < int(now) + KV_TTL_S_MIN:
            raise invalid_kv(f"expiration is less than {KV_TTL_S_MIN} seconds from now")
        return expiration
    return None


def parse_pairs(body: bytes | bytearray, *, now: float) -> list[KvPair]:
    """The pairs of a bulk write; one bad pair refuses all of them."""
    members = _list(body)
    pairs = [_pair(member, now=now) for member in members]
    if len({pair.key for pair in pairs}) != len(pairs):
        raise invalid_kv("duplicate keys in one request")
    return pairs


def parse_keys(body: bytes | bytearray) -> list[str]:
    """The keys of a bulk delete: strings, or objects with a `name` as older clients send."""
    return [
        check_key(member.get("name") if isinstance(member, dict) else member)
        for member in _list(body)
    ]


def _list(body: bytes | bytearray) -> list[object]:
    if len(body) > KV_VALUES_MAX:
        _check_values(body)
    try:
        members = orjson.loads(body)
    except ValueError as error:
        raise invalid_kv("could not parse the request body") from error
    if not isinstance(members, list) or not members:
        raise invalid_kv("expected a non-empty array")
    if len(members) > KV_PAIRS_MAX:
        raise invalid_kv(f"at most {KV_PAIRS_MAX} keys in one request, got {len(members)}")
    return members


def _check_values(body: bytes | bytearray) -> None:
    """Raises ServiceError for more JSON values than a request needs.

    The parser would make an object of each, in one call of seconds that nothing interrupts.
    """
    position = count = 0
    while position < len(body):
        quote = body.find(b'"', position)
        end = len(body) if quote < 0 else quote
        count += sum(body.count(mark, position, end) for mark in (b",", b"[", b"{"))
        if count > KV_VALUES_MAX:
            raise invalid_kv(f"more than {KV_VALUES_MAX} values in one request")
        string = _STRING.match(body, end)
        if string is None:
            return  # the end, or no JSON: the parser will say so
        position = string.end()


def _pair(member: object, *, now: float) -> KvPair:
    if not isinstance(member, dict) or not member.keys() <= _MEMBERS:
        raise invalid_kv("expected objects with key, value, metadata, expiration, base64")
    return KvPair(
        key=check_key(member.get("key")),
        value=_value(member),
        metadata=check_metadata(member.get("metadata")),
        expiration=check_expiry(member.get("expiration"), member.get("expiration_ttl"), now=now),
    )


def _value(member: Mapping[str, object]) -> bytes:
    value, encoded = member.get("value"), member.get("base64", False)
    if not isinstance(value, str) or not isinstance(encoded, bool | None):
        raise invalid_kv("value must be a string, base64 a boolean")
    if not encoded:
        return value.encode()
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_kv("value is not valid base64") from error
