"""Canonical JSON: one text per value, so that equal payloads have equal bytes.

Keys sorted by code point, no white space, UTF-8. Strings that are not valid Unicode (lone
surrogates parse, but do not encode) keep their escape, so nothing a source sends is lost.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from migrate.model.json_text import DEPTH_MAX

_SURROGATE = re.compile("[\ud800-\udfff]")
# orjson reads integers beyond 64 bits as doubles, and 1e999 as infinity.
_ROUNDED_MIN = 2.0**63


def encode_canonical_json(value: object) -> bytes:
    """The canonical text of a JSON value.

    Integers of any size are written in full; 1 and 1.0 stay different.
    Raises ValueError for NaN, infinity, keys that are not strings, or more than 989 levels.
    """
    text = encode_finite_json(value)
    if b"null" in text and any(not math.isfinite(number) for number in _floats(value)):
        raise ValueError("NaN and infinity are no JSON")  # orjson writes them as null
    return text


def encode_finite_json(value: object) -> bytes:
    """The same text, for a value whose numbers the caller knows to be finite."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return _encode_slowly(value)


def _encode_slowly(value: object) -> bytes:
    """The same text for what orjson refuses: lone surrogates, large integers, deep nesting.

    Not recursive, so that the depth it accepts does not depend on the depth of the caller.
    """
    pieces: list[str] = []
    waiting: list[object] = [value]  # values still to be written, and texts between them
    depth = 0
    while waiting:
        one = waiting.pop()
        if isinstance(one, _Between):
            pieces.append(one.text)
            depth -= one.ends
        elif isinstance(one, dict | list | tuple):
            depth += 1
            if depth > DEPTH_MAX:
                raise ValueError(f"not a JSON value: more than {DEPTH_MAX} levels")
            waiting += reversed(_parts(one))
        else:
            pieces.append(_encode_single(one))
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", "".join(pieces)).encode()


@dataclass(frozen=True, slots=True)
class _Between:
    """Text between two values."""

    text: str
    ends: int = 0  # 1: a container ends here


def _parts(container: Mapping[str, object] | Sequence[object]) -> list[object]:
    """The values of an object or a list, and the texts between them."""
    parts: list[object] = []
    if isinstance(container, Mapping):
        _check_keys(container)
        for key in sorted(container):
            comma = "," if parts else "{"
            parts += [_Between(f"{comma}{_encode_single(key)}:"), container[key]]
        return [*parts, _Between("}" if parts else "{}", ends=1)]
    for value in container:
        parts += [_Between("," if parts else "["), value]
    return [*parts, _Between("]" if parts else "[]", ends=1)]


def _encode_single(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"not a JSON value: {error}") from error


def _check_keys(container: Mapping[str, object]) -> None:
    """Refuse keys that `json` would convert to text: {1: ...} is not {"1": ...}."""
    for key in container:
        if not isinstance(key, str):
            raise ValueError(  # noqa: TRY004 - bad data, not a bug
                f"not a JSON value: key of type {type(key).__name__}, text was expected"
            )


def decode_json(text: bytes) -> object:
    """Parse JSON, the strict fast way first, then the tolerant one for lone surrogates.

    Integers of any size come back exactly. Raises ValueError when the text is not JSON in UTF-8,
    or holds NaN, infinity, a number beyond the doubles, or unlimited nesting.
    """
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _decode_slowly(text)
    if any(abs(number) >= _ROUNDED_MIN for number in _floats(value)):
        return _decode_slowly(text)
    return value


def _decode_slowly(text: bytes) -> object:
    try:
        return json.loads(text.decode(), parse_constant=_refuse, parse_float=_parse_float)
    except RecursionError as error:
        raise ValueError("nested too deeply for JSON") from error


def _parse_float(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _refuse(name: str) -> float:
    raise ValueError(f"{name[:20]} is not JSON")


def _floats(value: object) -> list[float]:
    """Every float in a JSON value; without recursion, because the value may be deep."""
    found: list[float] = []
    waiting: list[Iterable[object]] = [(value,)]
    for several in waiting:  # grows while it is read
        for one in several:
            if isinstance(one, str):  # the most frequent kind first: this runs for every payload
                continue
            if isinstance(one, float):
                found.append(one)
            elif isinstance(one, dict):
                waiting.append(one.values())
            elif isinstance(one, (list, tuple)):
                waiting.append(one)
    return found
