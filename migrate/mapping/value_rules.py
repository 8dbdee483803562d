"""What the values that an operator chooses have to be: numbers, names, templates, URLs; pure.

A value that is refused here could never move a point, or would change the request that holds it.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import urlsplit

from migrate.mapping import field_paths
from migrate.mapping.kv_keys import key_fault
from migrate.mapping.shards import SHARDS_MIN, binding_part
from migrate.mapping.transforms.table import TableError, read_transforms
from migrate.model import limits

FIELD_IN_BRACES = re.compile(r"\{([^{}]+)\}")
_DIGITS = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?")
_METADATA_INDEX = re.compile(r"([^:]+):(string|number|boolean)")
_INDEXED_NAME_CHARACTERS_MAX = 512  # of a filter's key
_COLLECTION_BYTES_MAX = 255  # Qdrant's own limit for a name
_TRUNCATE, _HASH = "truncate:", "hash:"
_JSON_DIGITS_MAX = 4_000  # Python reads no number of 4,301 digits, and says so in its own terms


def _comma_parts(value: str) -> list[Any]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _json_list(value: str) -> list[Any]:
    """Raises ValueError."""
    found = _read_json(value, "a JSON list of objects")
    if not isinstance(found, list):
        raise TableError(f"found a {type(found).__name__}, expected a JSON list of objects")
    return found


def _read_json(value: str, expected: str) -> object:
    """Raises TableError for a text that is no JSON, or that JSON readers take differently."""

    def refuse(name: str) -> None:
        raise TableError(f"found {name}, which is no JSON, expected {expected}")

    try:
        return json.loads(
            value, object_pairs_hook=_unique_members, parse_constant=refuse, parse_int=_whole_number
        )
    except json.JSONDecodeError as error:
        raise TableError(f"found no JSON ({error}), expected {expected}") from error
    except RecursionError as error:
        raise TableError(f"found JSON that is nested too deeply, expected {expected}") from error


def _whole_number(digits: str) -> int:
    if len(digits) > _JSON_DIGITS_MAX:
        raise TableError(
            f"found a number of {len(digits):,} digits, expected at most {_JSON_DIGITS_MAX:,}"
        )
    return int(digits)


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Raises ValueError: of two members of one name JSON readers keep the last."""
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise TableError(f"found the member {twice!r} twice in one object, expected it once")
    return members


def read_filter(value: str | dict[str, object]) -> str | None:
    """A filter of Qdrant as one JSON text with sorted members, so that equal ones have equal texts.

    None for what is no JSON object with a member. Whether it is a filter is found out when the
    source is opened. Raises ValueError for a text that is no JSON.
    """
    found = _read_json(value, _FILTER_FORM) if isinstance(value, str) else value
    if not isinstance(found, dict) or not found:
        return None
    try:
        texts = (_sorted_json(found, with_escapes=with_escapes) for with_escapes in (False, True))
        return next((text for text in texts if text.isprintable()), None)
    except RecursionError as error:
        raise TableError("found tables nested too deeply for a filter") from error
    except ValueError as error:  # json names no number
        raise TableError(
            "found a number that is not finite, as nan, inf or 1e999, expected numbers of JSON"
        ) from error


def _sorted_json(members: dict[str, object], *, with_escapes: bool) -> str:
    """One text for each value. Times, which a TOML file may hold, become texts."""
    return json.dumps(
        members,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=with_escapes,
        allow_nan=False,
        default=lambda time: time.isoformat(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a value has to be.

    `read` takes a text or a value of one of the types `native`. It returns the value in its final
    type. For one that does not fit it returns None, or raises ValueError that says what is wrong.
    """

    expected: str  # in words
    read: Callable[[Any], Any]
    native: type | tuple[type, ...] = str  # in a settings file; never a bool
    words: tuple[str, ...] = ()  # the only ones that fit; empty: no such list
    unit: str = ""
    may_hold_secret: bool = False  # a value that does not fit is then not repeated
    parts: Callable[[str], list[Any]] = _comma_parts  # of a list in a flag or a variable

    def read_native(self, value: object) -> Any:
        """`read` for a value of a settings file; None also for one of another type."""
        fits = isinstance(value, self.native) and not isinstance(value, bool)
        return self.read(value) if fits else None

    def read_typed(self, value: str) -> Any:
        """`read` for a flag or an environment variable."""
        return self.read(self.parts(value) if self.native is list else value)


def text(expected: str, fits: Callable[[str], object], *, may_hold_secret: bool = False) -> Rule:
    """Printable text: a line end or an escape sequence comes from copying and is never meant."""

    def read(value: str) -> str | None:
        return value if value.isprintable() and fits(value) else None

    return Rule(expected=expected, read=read, may_hold_secret=may_hold_secret)


def one_of(literal: Any) -> Rule:
    """One of the words of a Literal."""
    words = get_args(literal)
    expected = "one of " + ", ".join(f'"{word}"' for word in words)
    return Rule(
        expected=expected, read=lambda value: value if value in words else None, words=words
    )


def whole(low: int, high: int, unit: str = "") -> Rule:
    """A whole number in a range, both bounds included; as text in plain decimal digits."""
    return _in_range(int, low, high, unit)


def number(low: float, high: float, unit: str = "") -> Rule:
    """As `whole`, with a fraction too."""
    return _in_range(float, low, high, unit)


def _in_range(kind: type[int | float], low: float, high: float, unit: str) -> Rule:
    def read(value: str | float) -> float | None:
        if isinstance(value, str):
            digits = _DIGITS.fullmatch(value)
            if digits is None or (kind is int and digits[1]):
                return None
            value = kind(value)
        return kind(value) if low <= value <= high else None

    words = "a whole number" if kind is int else "a number"
    expected = f"{words} from {low:,} to {high:,}" + (f" ({unit})" if unit else "")
    return Rule(
        expected=expected, read=read, native=int if kind is int else (int, float), unit=unit
    )


def template_fields(template: str) -> tuple[str, ...]:
    """The field names in braces, in order."""
    return tuple(FIELD_IN_BRACES.findall(template))


def truncated_field(oversize_rule: str) -> str | None:
    """The text field that "truncate:<field>" cuts; None for "quarantine"."""
    cuts = oversize_rule.startswith(_TRUNCATE)
    return oversize_rule.removeprefix(_TRUNCATE) if cuts else None


def hashed_field(long_ids: str) -> str | None:
    """The field that "hash:<field>" names; None for "quarantine"."""
    return long_ids.removeprefix(_HASH) if long_ids.startswith(_HASH) else None


def index_types(entries: Iterable[str]) -> dict[str, str]:
    """Metadata indexes as they are declared, "name:type" each: property name -> type."""
    return dict(entry.split(":", 1) for entry in entries)


def _is_field(name: str) -> bool:
    """Whether metadata can hold a field of this name: a point with another one never moves."""
    is_forbidden = set(name) & set('."') or name.startswith("$") or name != name.strip()
    return bool(name) and not is_forbidden


def _is_path(name: str) -> bool:
    """Whether a payload can have a field there; a point without it never moves."""
    return field_paths.parse_path(name) is not None


def _is_template(template: str) -> bool:
    """Whether it names at least one field, and every brace belongs to one."""
    fields = template_fields(template)
    around = FIELD_IN_BRACES.sub("", template)
    return bool(fields) and not set(around) & set("{}") and all(map(_is_path, fields))


def _is_id_template(template: str) -> bool:
    """Whether some id that is made from the template fits."""
    shortest = FIELD_IN_BRACES.sub("x", template)  # a field gives a byte at least
    return _is_template(template) and len(shortest.encode()) <= limits.VECTOR_ID_BYTES_MAX


def _is_namespace(template: str) -> bool:
    """Whether some namespace that is made from the template fits; empty: there is none."""
    shortest = FIELD_IN_BRACES.sub("x", template)
    is_short = len(shortest.encode()) <= limits.NAMESPACE_BYTES_MAX
    names_point = "point_id" in template_fields(template)
    return not template or (_is_template(template) and is_short and not names_point)


def _is_key_template(template: str) -> bool:
    """Whether some key that is made from the template fits."""
    return _is_template(template) and key_fault(FIELD_IN_BRACES.sub("x", template)) is None


def _is_oversize_rule(rule: str) -> bool:
    field = truncated_field(rule)
    return rule == "quarantine" if field is None else _is_field(field)


def _is_long_ids(rule: str) -> bool:
    field = hashed_field(rule)
    return rule == "quarantine" if field is None else _is_field(field)


def _read_metadata_indexes(entries: list[object]) -> tuple[str, ...] | None:
    texts = tuple(entry for entry in entries if isinstance(entry, str) and entry.isprintable())
    names = {entry.partition(":")[0] for entry in texts}
    is_possible = len(names) == len(entries) <= limits.METADATA_INDEXES_MAX
    return texts if is_possible and all(map(_is_metadata_index, texts)) else None


def _is_metadata_index(entry: str) -> bool:
    """Whether it is a name and a type the target knows; a dot in a name reaches into an object."""
    found = _METADATA_INDEX.fullmatch(entry)
    if found is None or len(found[1]) > _INDEXED_NAME_CHARACTERS_MAX:
        return False
    return all(map(_is_field, found[1].split(".")))


def _read_shards(names: list[object]) -> tuple[str, ...] | None:
    """The names in order; nothing for an empty list, which divides nothing."""
    texts = sorted(name for name in names if isinstance(name, str) and INDEX_NAME.read(name))
    are_names = len(texts) == len(names) == len(set(map(binding_part, texts)))
    return tuple(texts) if are_names and len(texts) not in range(1, SHARDS_MIN) else None


def _is_collection(name: str) -> bool:
    """Whether Qdrant can have a collection of this name, and a URL can hold it."""
    is_path = "/" in name or name in {"", ".", ".."}
    return not is_path and len(name.encode()) <= _COLLECTION_BYTES_MAX


def _is_url(url: str) -> bool:
    """Whether it is http or https with a host, and holds no user name or password.

    Which hosts may get the token is decided later; this keeps passwords out of every place that
    shows a URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port  # raises for one that is no port
        host = parts.hostname or ""
        if ":" in host:
            ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        return False
    # Spaces and backslashes are read differently by different libraries.
    return "@" not in parts.netloc and not set(url) & set(" \\?#")


_FILTER_FORM = (
    """a filter of Qdrant as JSON, as '{"must": [{"key": "tenant", "match": {"value": "a"}}]}'"""
)
_NAME_FORM = "letters, digits, - and _, at most 64"
_FIELD_FORM = 'a payload field: no . or " in it, no $ in front, no blanks around it'

ANY_TEXT = text("text", str.isprintable)
DIMENSIONS = whole(limits.DIMENSIONS_MIN, limits.DIMENSIONS_MAX)
DEADLINE_S = number(1, limits.DEADLINE_S_MAX, "seconds")
KV_TTL_S = whole(limits.KV_TTL_S_MIN, limits.KV_TTL_S_MAX, "seconds")
BODY_BYTES = whole(limits.UPLOAD_BYTES_MIN, limits.UPLOAD_BYTES_MAX, "bytes")
POINTS = whole(0, limits.SETTING_COUNT_MAX, "points")
URL = text(
    "an http or https URL without user name, password, query or fragment",
    _is_url,
    may_hold_secret=True,
)
COLLECTION = text(
    f"text without /, of at most {_COLLECTION_BYTES_MAX} bytes, and not . or ..", _is_collection
)
# A name becomes a part of a URL's path: it holds no character that could change the path.
NAME = text(_NAME_FORM, re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch)
# wrangler takes the name of an index as a word of its own and would read a dash as an option.
INDEX_NAME = text(
    f"{_NAME_FORM}, a letter first", re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}").fullmatch
)
SHARDS = Rule(
    expected=f"a list of at least {SHARDS_MIN} texts, each the name of an index ({_NAME_FORM}, a "
    "letter first); two differ in more than case, - and _",
    read=_read_shards,
    native=list,
)
VARIABLE_NAME = text(
    "the name of a variable: letters, digits and _, no digit first",
    re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch,
)
FIELD_OR_NONE = text(field_paths.FORM, lambda name: not name or _is_path(name))
ID_TEMPLATE = text(
    "text with payload fields in braces, as {file_id}_{chunk_index} or {point_id}; no blanks "
    f"inside the braces, and an id of at most {limits.VECTOR_ID_BYTES_MAX} bytes",
    _is_id_template,
)
NAMESPACE = text(
    "text with payload fields in braces, as {tenant}, but not {point_id}; a namespace of at most "
    f"{limits.NAMESPACE_BYTES_MAX} bytes; or the empty text",
    _is_namespace,
)
KEY_TEMPLATE = text(
    "text with the field of mapping.group_key in braces, as file:{file_id}; no white space or "
    f"control characters, and a key of at most {limits.KV_KEY_BYTES_MAX} bytes",
    _is_key_template,
)
KEY = text(
    f"a KV key: 1 to {limits.KV_KEY_BYTES_MAX} bytes, no white space or control characters, "
    "and not . or ..",
    lambda key: key_fault(key) is None,
)
OVERSIZE_RULE = text(f'"quarantine" or "truncate:<field>" with {_FIELD_FORM}', _is_oversize_rule)
LONG_IDS = text(f'"quarantine" or "hash:<field>" with {_FIELD_FORM}', _is_long_ids)
TRANSFORMS = Rule(
    expected="a list of tables, each one rule, as [[mapping.transform]]",
    read=read_transforms,
    native=list,
    parts=_json_list,
)
FILTER = Rule(expected=_FILTER_FORM, read=read_filter, native=(str, dict))
METADATA_INDEXES = Rule(
    expected="a list of texts, each name:type with type string, number or boolean; names differ, "
    f"at most {limits.METADATA_INDEXES_MAX}",
    read=_read_metadata_indexes,
    native=list,
)
