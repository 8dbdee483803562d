"""Read the shard keys of a collection from what its server says of the shards."""

from collections.abc import Mapping, Sequence

from migrate.errors import PreconditionError
from migrate.model.records import (
    ShardKey,
    encode_shard_key,
    name_shard_key,
    order_shard_keys,
)
from migrate.qdrant.sharding.shards import Json, replica_number, replicas

KEYS_SHOWN_MAX = 20


def read_shard_keys(name: str, cluster: Json | None) -> list[ShardKey]:
    """All shard keys of collection `name`, integers before texts.

    `cluster` is the answer to `GET /collections/{name}/cluster`, which names every shard with its
    key. Raises PreconditionError when it is not visible, or has a shard without a key.
    """
    if cluster is None:
        raise PreconditionError(
            f"collection '{name}' uses custom sharding, and this API key may not see its shard "
            "keys: a point under a key that is not known would not be read",
            remedy=f"set QDRANT_API_KEY to a key that may read GET /collections/{name}/cluster",
        )
    keys = []
    for replica in replicas(cluster):
        try:
            keys.append(encode_shard_key(_plain(replica.get("shard_key"))))
        except ValueError as error:
            raise PreconditionError(
                f"collection '{name}' uses custom sharding, and shard {replica_number(replica)} "
                f"has no shard key that q2v can read: {error}",
                remedy=f"see GET /collections/{name}/cluster; a shard that is being made has its "
                "key a moment later",
            ) from error
    return order_shard_keys(keys)


def _plain(key: object) -> object:
    """The key as REST has it. Over gRPC it is `{"keyword": ...}` or `{"number": ...}`."""
    return next(iter(key.values()), None) if isinstance(key, Mapping) else key


def name_keys(keys: Sequence[ShardKey]) -> str:
    """The keys in a message, the first 20."""
    more = f" and {len(keys) - KEYS_SHOWN_MAX} more" * (len(keys) > KEYS_SHOWN_MAX)
    return ", ".join(map(name_shard_key, keys[:KEYS_SHOWN_MAX])) + more
