"""Where a collection was read from, which is the same place over both protocols of a server."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict

from migrate.model.canonical import encode_canonical_json
from migrate.model.records import Collection
from migrate.ports import PointSource

Place = dict[str, str]


def place_of(identity: Mapping[str, str]) -> Place:
    """An identity without the protocol, which may differ between two calls (`auto`)."""
    return {key: value for key, value in identity.items() if key != "transport"}


def is_place_of(sealed: Mapping[str, str], source: PointSource) -> bool:
    """Whether a manifest's identity of a source is that of `source`, over any protocol."""
    return place_of(sealed) in _places(source)


def fingerprint(source: PointSource, collection: Collection) -> str:
    """SHA-256 over what makes two readings readings of the same collection."""
    return _fingerprint(place_of(source.identity()), collection)


def fingerprints(source: PointSource, collection: Collection) -> frozenset[str]:
    """The fingerprint of this source over each of its protocols."""
    return frozenset(_fingerprint(place, collection) for place in _places(source))


def _places(source: PointSource) -> list[Place]:
    place = place_of(source.identity())
    return [place, *({**place, "url": url} for url in sorted(source.urls()))]


def _fingerprint(place: Place, collection: Collection) -> str:
    content = {
        "source": place,
        "collection": collection.name,
        "vectors": [asdict(spec) for spec in collection.vectors],
        **({} if collection.shard_keys is None else {"sharding": "custom"}),
    }
    return hashlib.sha256(encode_canonical_json(content)).hexdigest()
