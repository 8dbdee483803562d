"""Turn a point's payload into a vector's id and metadata, or name the reason why it cannot move.

No value is converted, cut or dropped silently: a point either maps exactly, or maps with a
declared change that is counted (`Change`), or is quarantined with one reason.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

from migrate.mapping.field_paths import read_path
from migrate.mapping.ids import hash_long_id
from migrate.mapping.kv_keys import encode_key, key_fault
from migrate.mapping.rules import MappingRules
from migrate.mapping.transforms.apply import apply_transforms
from migrate.mapping.transforms.rules import FieldTakenError
from migrate.mapping.value_rules import FIELD_IN_BRACES
from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.choices import GroupType
from migrate.model.limits import (
    EXACT_INTEGER_MAX,
    METADATA_BYTES_MAX,
    NAMESPACE_BYTES_MAX,
    VECTOR_ID_BYTES_MAX,
)
from migrate.model.records import PointId, ShardKey, VectorId, decode_shard_key
from migrate.words import counted

HASH_HEX_LENGTH = 64  # SHA-256, as the sync service writes it
HASH_FORM = re.compile(f"[0-9a-fA-F]{{{HASH_HEX_LENGTH}}}")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")
POINT_ID_FIELD = "point_id"
_NULL = 'null; mapping.nulls = "leave_out" leaves the field out'
_ABSENT = object()
_NO_POINT = PointId(0, 0)  # no namespace is made of the id of a point
_UNREACHED = "which mapping.nulls does not reach"


class Reason(StrEnum):
    """Why a point is quarantined; docs/formats.md explains each."""

    VECTOR_MISSING = "vector_missing"
    DIM_MISMATCH = "dim_mismatch"
    NON_FINITE = "non_finite"
    ZERO_VECTOR = "zero_vector"
    FIELD_MISSING = "field_missing"
    FIELD_TYPE = "field_type"
    FIELD_RANGE = "field_range"
    DUPLICATE = "duplicate"
    ID_CONFLICT = "id_conflict"
    ID_TOO_LONG = "id_too_long"
    NAMESPACE_TOO_LONG = "namespace_too_long"
    FILE_IN_NAMESPACES = "file_in_namespaces"
    METADATA_TOO_LARGE = "metadata_too_large"
    BAD_KEY = "bad_key"
    UNREPRESENTABLE = "unrepresentable"
    FIELD_TAKEN = "field_taken"
    INVALID_UNICODE = "invalid_unicode"
    DUPLICATE_KEY = "duplicate_key"
    HASH_MISMATCH = "hash_mismatch"
    KV_KEY = "kv_key"
    KV_VALUE = "kv_value"
    UPLOAD_TOO_LARGE = "upload_too_large"
    UNREADABLE = "unreadable"
    REFUSED = "refused"


class Change(StrEnum):
    """A declared difference between payload and metadata; the snapshot keeps the original."""

    NULL_LEFT_OUT = "null_left_out"
    TRUNCATED = "truncated"
    ID_HASHED = "id_hashed"  # the field has the whole id
    TRANSFORMED = "transformed"  # by the rule whose number follows


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What one payload becomes."""

    vector_id: VectorId
    group: str | None  # the file; None without a KV file index
    order: int  # the chunk's number within the file; 0 without an order key
    metadata: bytes  # compact canonical JSON, at most 10,240 bytes
    namespace: str | None = None  # None where the rules name none
    changes: tuple[tuple[Change, str], ...] = ()  # with the field each applies to
    hash_differs: bool = False  # the text has another hash, and the rules say to warn


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """Why one point is left out. `detail` shows the shape of the value, never its content."""

    reason: Reason
    field: str
    detail: str


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A point of another vector index, whose run moves or quarantines it."""

    index: str


Outcome = Mapped | Quarantined | Elsewhere


class _RefusedError(Exception):
    """Carries a `Quarantined` out of the checks; never leaves this module."""

    def __init__(self, reason: Reason, field: str, detail: str) -> None:
        super().__init__(detail)
        self.outcome = Quarantined(reason=reason, field=field, detail=detail)


@lru_cache(maxsize=16)  # one template a run, asked for with every point
def _template_parts(template: str) -> tuple[list[str], list[str]]:
    """The texts around the fields, one more than fields; and the fields' names."""
    parts = FIELD_IN_BRACES.split(template)
    return parts[::2], parts[1::2]


def map_payload(
    point_id: PointId, payload: bytes, rules: MappingRules, shard_key: ShardKey | None = None
) -> Outcome:
    """Map one payload (canonical JSON object) by the rules; `shard_key`: of the point, if any.

    Checks, in this order: fields the rules need, namespace, keys and values the target can hold,
    id, KV key, size. The first failing check gives the reason. `Elsewhere` for every point that
    belongs to another of several indexes, also for one that cannot move.
    """
    try:
        fields = _parse(payload)
        if shard_key is not None:
            _add_shard_key(fields, rules, shard_key)
        group = _group(fields, rules)
    except _RefusedError as refusal:
        return judge_point(refusal.outcome, point_id, rules)
    if group is not None and (elsewhere := _elsewhere(group, rules)) is not None:
        return elsewhere
    try:
        mapped = _map(point_id, payload, fields, group, rules)
    except _RefusedError as refusal:
        is_judged = group is not None
        return refusal.outcome if is_judged else judge_point(refusal.outcome, point_id, rules)
    return mapped if group is not None else _elsewhere(mapped.vector_id, rules) or mapped


def judge_point(
    outcome: Quarantined, point_id: PointId, rules: MappingRules
) -> Quarantined | Elsewhere:
    """The outcome of a point that has no key: one of several indexes judges it, by its id."""
    return _elsewhere(point_id.text, rules) or outcome


def _elsewhere(key: str, rules: MappingRules) -> Elsewhere | None:
    other = None if rules.shards is None else rules.shards.other_than_own(key)
    return None if other is None else Elsewhere(other)


def map_again(
    point_id: PointId, payload: bytes, rules: MappingRules, shard_key: ShardKey | None = None
) -> tuple[VectorId, str | None, int, bytes, str | None]:
    """Id, group, order, metadata and namespace of a payload that `map_payload` accepted.

    Takes half the time, since little is checked a second time. A payload that may differ from its
    metadata (a null in it, or its size) is mapped by `map_payload`.
    """
    is_changed = rules.transforms or rules.long_id_field or b"null" in payload
    if is_changed or len(payload) > METADATA_BYTES_MAX:
        mapped = map_payload(point_id, payload, rules, shard_key)
        assert isinstance(mapped, Mapped), f"the plan let {point_id} pass: {mapped}"
        return mapped.vector_id, mapped.group, mapped.order, mapped.metadata, mapped.namespace
    fields = _parse(payload)
    group = read_group(fields, rules)
    order = read_path(fields, rules.order_key, 0)
    assert isinstance(order, int), f"the plan let {point_id} pass"
    vector_id = VectorId(_fill(rules.id_template, point_id, fields))
    return vector_id, group, order, payload, _namespace(point_id, fields, rules)


def with_shard_key(payload: bytes, rules: MappingRules, shard_key: ShardKey | None) -> bytes:
    """The payload as the rules see it, of a point that a plan let pass."""
    if shard_key is None or rules.shard_key_rule is None:
        return payload
    fields = _parse(payload)
    _add_shard_key(fields, rules, shard_key)
    return encode_canonical_json(fields)


def _add_shard_key(fields: dict[str, object], rules: MappingRules, shard_key: ShardKey) -> None:
    rule = rules.shard_key_rule
    try:
        if rule is not None:
            rule.put(fields, decode_shard_key(shard_key))
    except FieldTakenError as error:
        raise _RefusedError(Reason.FIELD_TAKEN, error.field, str(error)) from error


def _map(
    point_id: PointId,
    payload: bytes,
    fields: dict[str, object],
    group: str | None,
    rules: MappingRules,
) -> Mapped:
    """`fields` is the payload with the shard key of the point; `group` is its file."""
    order = _order(fields, rules)
    hash_differs = _check_hash(fields, rules)
    namespace = _namespace(point_id, fields, rules)
    changes: list[tuple[Change, str]] = []
    if rules.transforms:
        whole_id = _fill(rules.id_template, point_id, fields)
        kept = _transform(fields, rules, changes)
    else:
        kept = _representable(fields, rules, changes)
        whole_id = _fill(rules.id_template, point_id, fields)
    vector_id = _fitting_id(whole_id, kept, rules, changes)
    if group is not None:
        _check_kv_key(encode_kv_key(group, rules))
    # The payload is canonical already: unless something has changed, its bytes are the metadata.
    metadata = payload if kept is fields and not changes else _encode(kept)
    if len(metadata) > METADATA_BYTES_MAX:
        metadata = _truncated(kept, len(metadata), rules, changes)
    return Mapped(
        vector_id=vector_id,
        group=group,
        order=order,
        metadata=metadata,
        namespace=namespace,
        changes=tuple(changes),
        hash_differs=hash_differs,
    )


def _transform(
    fields: dict[str, object], rules: MappingRules, changes: list[tuple[Change, str]]
) -> dict[str, object]:
    """The fields as the transforms leave them, and as metadata can hold them."""
    try:
        applied = apply_transforms(rules.transforms, fields)
    except FieldTakenError as error:
        raise _RefusedError(Reason.FIELD_TAKEN, error.field, str(error)) from error
    changes.extend((Change.TRANSFORMED, str(number)) for number in applied)
    return _representable(fields, rules, changes)


def _parse(payload: bytes) -> dict[str, object]:
    try:
        fields = decode_json(payload)
    except ValueError as error:
        raise _RefusedError(Reason.UNREPRESENTABLE, "", f"payload is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise _RefusedError(Reason.UNREPRESENTABLE, "", f"payload is a {type(fields).__name__}")
    return fields


def _required(fields: Mapping[str, object], key: str) -> object:
    value = read_path(fields, key, _ABSENT)
    if value is None or value is _ABSENT:
        found = "null" if value is None else "absent"
        raise _RefusedError(Reason.FIELD_MISSING, key, f"{found}, a value was expected")
    return value


def _group(fields: dict[str, object], rules: MappingRules) -> str | None:
    if not rules.group_key:
        return None
    value = _required(fields, rules.group_key)
    if rules.group_type == "integer":
        return str(_whole_number(value, rules.group_key))
    if not isinstance(value, str):
        hint = ', mapping.group_type = "integer" takes it' if type(value) is int else ""
        raise _RefusedError(
            Reason.FIELD_TYPE, rules.group_key, f"{shape_of(value)}, text was expected{hint}"
        )
    if not value:
        raise _RefusedError(Reason.FIELD_RANGE, rules.group_key, "empty text")
    _check_unicode(value, rules.group_key)
    return value


def _order(fields: dict[str, object], rules: MappingRules) -> int:
    if not rules.order_key:
        return 0
    return _whole_number(_required(fields, rules.order_key), rules.order_key)


def _whole_number(value: object, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _RefusedError(Reason.FIELD_TYPE, field, f"{shape_of(value)}, an integer was expected")
    if not 0 <= value <= EXACT_INTEGER_MAX:
        raise _RefusedError(Reason.FIELD_RANGE, field, "outside 0..2^53 - 1")
    return value


class GroupRules(Protocol):
    """Where payload names the file, and how."""

    @property
    def group_key(self) -> str:
        """As in `MappingRules`."""

    @property
    def group_type(self) -> GroupType:
        """As in `MappingRules`."""


def read_group(fields: Mapping[str, object], rules: GroupRules) -> str | None:
    """The file that payload or metadata names; None without one, or of another type."""
    value = read_path(fields, rules.group_key)
    if rules.group_type == "integer":
        is_number = type(value) is int and 0 <= value <= EXACT_INTEGER_MAX
        return str(value) if is_number else None
    return value if isinstance(value, str) and value else None


def group_value(group: str, rules: MappingRules) -> str | int:
    """The value of the field that names this file, as payload and metadata hold it."""
    return int(group) if rules.group_type == "integer" else group


def _check_hash(fields: dict[str, object], rules: MappingRules) -> bool:
    """Whether a well-formed hash differs from the hash of the text."""
    if not rules.hash_key:
        return False
    value = _required(fields, rules.hash_key)
    if not isinstance(value, str):
        raise _RefusedError(
            Reason.FIELD_TYPE, rules.hash_key, f"{shape_of(value)}, text was expected"
        )
    if not HASH_FORM.fullmatch(value):
        raise _RefusedError(
            Reason.FIELD_RANGE,
            rules.hash_key,
            f"text of {counted(len(value), 'character')}, {HASH_HEX_LENGTH} hex digits were "
            "expected",
        )
    if not rules.hash_of or value.lower() == _text_hash(read_path(fields, rules.hash_of)):
        return False
    if rules.hash_mismatch == "quarantine":
        raise _RefusedError(
            Reason.HASH_MISMATCH, rules.hash_key, f"not the SHA-256 of the text in {rules.hash_of}"
        )
    return True


def _text_hash(text: object) -> str | None:
    """SHA-256 of the UTF-8 text in hex, as the sync service writes it; None without a text."""
    if not isinstance(text, str):
        return None
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _representable(
    fields: dict[str, object], rules: MappingRules, changes: list[tuple[Change, str]]
) -> dict[str, object]:
    """The fields as metadata can hold them; the same object when none was left out."""
    nulls = []
    for key, value in fields.items():
        if not _is_plain_key(key):
            _check_key(key, key)
        if isinstance(value, str):  # most are: this runs for every payload
            _check_unicode(value, key)
        elif value is None:
            nulls.append(key)  # answered by the rule for nulls
        else:
            _check_value(value, key, depth=0)
    if nulls and rules.nulls == "quarantine":
        raise _RefusedError(Reason.UNREPRESENTABLE, nulls[0], _NULL)
    if not nulls:
        return fields
    changes.extend((Change.NULL_LEFT_OUT, key) for key in nulls)
    return {key: value for key, value in fields.items() if value is not None}


def _check_key(key: str, path: str) -> None:
    _check_unicode(key, path)
    if not key or "." in key or '"' in key or key.startswith("$"):
        raise _RefusedError(
            Reason.BAD_KEY, path, 'keys must not be empty, hold . or ", or start with $'
        )


@lru_cache(maxsize=1024)  # the same few keys in every payload
def _is_plain_key(key: str) -> bool:
    return _PLAIN_NAME.fullmatch(key) is not None


def _check_value(value: object, path: str, *, depth: int) -> None:
    """Strings, exact numbers, booleans, lists of strings; objects of these, one level down."""
    match value:
        case str():
            _check_unicode(value, path)
        case int() if abs(value) > EXACT_INTEGER_MAX:
            raise _RefusedError(Reason.UNREPRESENTABLE, path, "integer beyond 2^53 - 1")
        case bool() | int() | float():
            pass
        case list():
            _check_list(value, path)
        case dict() if depth == 0:
            for key, inner in value.items():
                _check_key(key, f"{path}.{key}")
                _check_value(inner, f"{path}.{key}", depth=1)
        case None:
            raise _RefusedError(
                Reason.UNREPRESENTABLE, path, f"null inside an object, {_UNREACHED}"
            )
        case _:
            raise _RefusedError(Reason.UNREPRESENTABLE, path, shape_of(value))


def _check_list(values: list[object], path: str) -> None:
    for value in values:
        if not isinstance(value, str):
            why = f", {_UNREACHED}" if value is None else ""
            raise _RefusedError(
                Reason.UNREPRESENTABLE, path, f"list holding {shape_of(value)}{why}"
            )
        _check_unicode(value, path)


def _check_unicode(text: str, path: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        shown = path.encode("ascii", "backslashreplace").decode()
        raise _RefusedError(
            Reason.INVALID_UNICODE, shown, f"lone surrogate at character {error.start}"
        ) from error


def _fill(template: str, point_id: PointId, fields: Mapping[str, object]) -> str:
    """The template with the fields' values in place of their names."""
    literals, names = _template_parts(template)
    text = literals[0]
    for name, literal in zip(names, literals[1:], strict=True):
        text += _filled_part(name, point_id, fields) + literal
    return text


def _namespace(point_id: PointId, fields: Mapping[str, object], rules: MappingRules) -> str | None:
    """The namespace of the vector: texts as they are, integers in decimal digits."""
    if not rules.namespace:
        return None
    for name in _template_parts(rules.namespace)[1]:
        if read_path(fields, name) == "":
            raise _RefusedError(Reason.FIELD_RANGE, name, "empty text")
    text = _fill(rules.namespace, point_id, fields)
    name_bytes = len(text.encode())
    if name_bytes > NAMESPACE_BYTES_MAX:
        raise _RefusedError(
            Reason.NAMESPACE_TOO_LONG,
            "namespace",
            f"{name_bytes} bytes, at most {NAMESPACE_BYTES_MAX} are possible",
        )
    return text


def read_namespace(fields: Mapping[str, object], rules: MappingRules) -> str | None:
    """The namespace that payload or metadata names; None without one that a vector can be in."""
    try:
        return _namespace(_NO_POINT, fields, rules)
    except _RefusedError:
        return None


def _fitting_id(
    text: str, kept: dict[str, object], rules: MappingRules, changes: list[tuple[Change, str]]
) -> VectorId:
    """The id, or a digest of it; then a field of the metadata, which is changed, gets the id."""
    size = len(text.encode())
    if 1 <= size <= VECTOR_ID_BYTES_MAX:
        return VectorId(text)
    field = rules.long_id_field
    if not size or field is None:
        raise _RefusedError(
            Reason.ID_TOO_LONG, "id", f"{size} bytes, 1 to {VECTOR_ID_BYTES_MAX} are possible"
        )
    if field in kept:
        raise _RefusedError(Reason.FIELD_TAKEN, field, "mapping.long_ids would overwrite it")
    kept[field] = text
    changes.append((Change.ID_HASHED, field))
    return hash_long_id(text)


def _filled_part(name: str, point_id: PointId, fields: Mapping[str, object]) -> str:
    if name == POINT_ID_FIELD:
        return point_id.text
    value = _required(fields, name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _RefusedError(
            Reason.FIELD_TYPE, name, f"{shape_of(value)}, text or an integer was expected"
        )
    if isinstance(value, str):
        _check_unicode(value, name)
    return str(value)


def encode_kv_key(group: str, rules: MappingRules) -> str:
    """The KV key of a file."""
    return encode_key(rules.key_template, rules.group_key, group)


def _check_kv_key(key: str) -> None:
    fault = key_fault(key)
    if fault is not None:
        raise _RefusedError(Reason.KV_KEY, "kv_key", fault)


def _encode(fields: dict[str, object]) -> bytes:
    return encode_canonical_json(fields)


def _truncated(
    fields: dict[str, object],
    size: int,
    rules: MappingRules,
    changes: list[tuple[Change, str]],
) -> bytes:
    """Cut the declared text field at a character until the metadata fits, or refuse."""
    too_large = _RefusedError(
        Reason.METADATA_TOO_LARGE, "", f"{size} bytes, at most {METADATA_BYTES_MAX}"
    )
    field = rules.truncate_field
    text = fields.get(field) if field is not None else None
    if field is None or not isinstance(text, str):
        raise too_large
    keep_min, keep_max = 0, len(text)  # the longest prefix that fits, by bisection
    best: bytes | None = None
    while keep_min <= keep_max:
        keep = (keep_min + keep_max) // 2
        metadata = _encode({**fields, field: text[:keep]})
        if len(metadata) <= METADATA_BYTES_MAX:
            best, keep_min = metadata, keep + 1
        else:
            keep_max = keep - 1
    if best is None:
        raise too_large
    changes.append((Change.TRUNCATED, field))
    return best


_SHAPES: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number with a fraction",
    str: "text of {} characters",
    list: "list of {}",
    dict: "object below one level",
}


def shape_of(value: object) -> str:
    """The kind and size of a JSON value, without its content."""
    if isinstance(value, float) and value.is_integer():
        return "whole number in decimal form (as 3.0)"
    size = len(value) if isinstance(value, str | list) else 0
    return _SHAPES[type(value)].format(size)
