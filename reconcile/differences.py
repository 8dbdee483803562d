"""Name what differs between a record as it should be and as it was read. Pure.

Fields are named, contents never: the names go into reports and onto terminals.
"""

from collections.abc import Iterator, Mapping

from migrate.model.canonical import encode_canonical_json
from migrate.model.digest import canonical_values, plain_numbers
from migrate.model.records import KvEntry, Vector

# The service keeps whole seconds, and an expiration is asked for in whole seconds. A minute is the
# shortest time to live that it takes, so no other writer's expiration hides within one.
EXPIRATION_TOLERANCE_S = 60
NAMESPACE = "namespace"
VALUE, METADATA, EXPIRATION = "kv value", "kv metadata", "kv expiration"
# What q2v never writes: a record that differs in one of these was written by another writer.
OF_OTHERS = frozenset({NAMESPACE, METADATA, EXPIRATION})
Differences = tuple[str, ...]  # names, in a fixed order; empty for equal records
Named = dict[str, Differences]  # id or key -> what differs


def vector_differences(expected: Vector, found: Vector) -> Differences:
    """`values`, `namespace` and `metadata.<field>`, each only where it differs."""
    names = []
    pair = (canonical_values(one.values.reshape(1, -1)).tobytes() for one in (expected, found))
    if len(set(pair)) > 1:
        names.append("values")
    if (expected.namespace or None) != (found.namespace or None):
        names.append(NAMESPACE)
    names += _fields("metadata", expected.metadata or {}, found.metadata or {})
    return tuple(names)


def entry_differences(expected: KvEntry, found: KvEntry) -> Differences:
    """`kv value` byte by byte, `kv metadata` by value, `kv expiration` to within a minute."""
    names = []
    if expected.value != found.value:
        names.append(VALUE)
    if _text(expected.metadata) != _text(found.metadata):
        names.append(METADATA)
    if not _expire_together(expected.expiration, found.expiration):
        names.append(EXPIRATION)
    return tuple(names)


def _expire_together(one: int | None, other: int | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= EXPIRATION_TOLERANCE_S


def _fields(
    path: str, expected: Mapping[str, object], found: Mapping[str, object]
) -> Iterator[str]:
    for name in sorted(expected.keys() | found.keys()):
        one, other = expected.get(name), found.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _fields(f"{path}.{name}", one, other)
        elif (name in expected) != (name in found) or _text(one) != _text(other):
            yield f"{path}.{name}"


def _text(value: object) -> bytes:
    return encode_canonical_json(plain_numbers(value))
