"""Canonical JSON: one text per value, so that equal payloads have equal bytes.

Keys sorted by code point, no white space, UTF-8. Strings that are not valid Unicode (lone
surrogates parse, but do not encode) keep their escape, so nothing a source sends is lost.
"""

import json
import re

import orjson

_SURROGATE = re.compile("[\ud800-\udfff]")


def encode_canonical_json(value: object) -> bytes:
    """The canonical text of a JSON value.

    Integers of any size are written in full; 1 and 1.0 stay different.
    Raises ValueError for NaN, infinity, keys that are no strings, or endless nesting.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return _encode_slowly(value)


def _encode_slowly(value: object) -> bytes:
    """The same text for what orjson refuses: lone surrogates and integers beyond 64 bits."""
    try:
        text = json.dumps(
            value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not a JSON value: {error}") from error
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()


def decode_json(text: bytes) -> object:
    """Parse JSON, the strict fast way first, then the tolerant one for lone surrogates.

    Raises ValueError when the text is no JSON, or holds NaN, infinity or an endless nesting.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply for JSON") from error


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
