"""Name the fields in which an expected record and the one that was read differ. Pure.

The names go into reports and onto terminals, so they never include the contents of a field.
"""

from collections.abc import Iterator, Mapping

from migrate.model.canonical import encode_canonical_json
from migrate.model.digest import canonical_values, plain_numbers
from migrate.model.records import KvEntry, Vector

# The service stores expirations in whole seconds. Its shortest time to live is a minute, so an
# expiration that another writer sets is later than this tolerance.
EXPIRATION_TOLERANCE_S = 60
NAMESPACE = "namespace"
VALUE, METADATA, EXPIRATION = "kv value", "kv metadata", "kv expiration"
# A run writes these only where its plan says so: another record was changed by another writer.
OF_OTHERS = frozenset({NAMESPACE, METADATA, EXPIRATION})
_REMOVAL = frozenset({"removing", "since"})
Differences = tuple[str, ...]  # names, in a fixed order; empty for equal records
Named = dict[str, Differences]  # id or key -> what differs


def vector_differences(expected: Vector, found: Vector) -> Differences:
    """The differing ones of `values`, `namespace` and `metadata.<field>`, in this order."""
    names = []
    pair = (canonical_values(side.values.reshape(1, -1)).tobytes() for side in (expected, found))
    if len(set(pair)) > 1:
        names.append("values")
    if (expected.namespace or None) != (found.namespace or None):
        names.append(NAMESPACE)
    names += _fields("metadata", expected.metadata or {}, found.metadata or {})
    return tuple(names)


def entry_differences(expected: KvEntry, found: KvEntry) -> Differences:
    """The differing ones of `kv value`, `kv metadata` and `kv expiration`, in this order.

    Values are compared byte by byte, metadata as JSON values, expirations to within a minute. The
    note of a removal, which the store in a Worker leaves in the metadata, is not compared.
    """
    names = []
    if expected.value != found.value:
        names.append(VALUE)
    if _text(expected.metadata) != _text(_without_removal(found.metadata)):
        names.append(METADATA)
    if not _expire_together(expected.expiration, found.expiration):
        names.append(EXPIRATION)
    return tuple(names)


def _without_removal(metadata: object) -> object:
    """The metadata without a removal in progress; None where nothing else is in it.

    worker/src/client/files/entry.ts calls that part RemovalMetadata.
    """
    if not isinstance(metadata, dict) or not metadata.keys() >= _REMOVAL:
        return metadata
    return {name: value for name, value in metadata.items() if name not in _REMOVAL} or None


def _expire_together(expected: int | None, found: int | None) -> bool:
    if expected is None or found is None:
        return expected is found
    return abs(expected - found) <= EXPIRATION_TOLERANCE_S


def _fields(
    path: str, expected: Mapping[str, object], found: Mapping[str, object]
) -> Iterator[str]:
    for name in sorted(expected.keys() | found.keys()):
        wanted, seen = expected.get(name), found.get(name)
        if isinstance(wanted, dict) and isinstance(seen, dict):
            yield from _fields(f"{path}.{name}", wanted, seen)
        elif (name in expected) != (name in found) or _text(wanted) != _text(seen):
            yield f"{path}.{name}"


def _text(value: object) -> bytes:
    return encode_canonical_json(plain_numbers(value))
