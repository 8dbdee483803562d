"""Check that all shards of a collection are readable, and warn about what may hide points.

`GET /collections/{name}/cluster` lists every replica of every shard with its state. Some answers
of a server omit shards without a readable replica and report no error, so such collections are
refused here.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import cast

from migrate.errors import PreconditionError
from migrate.model.records import ShardCount
from migrate.words import counted

Json = Mapping[str, object]

# The states in which a server reads a replica. In other states points may be missing.
READABLE = ("Active", "ActiveRead", "ReshardingScaleDown")
RUNNING = (
    ("shard_transfers", "shard transfers"),
    ("resharding_operations", "resharding operations"),
)


def is_custom(params: Json) -> bool:
    """Whether the `config.params` of a collection name custom sharding."""
    return str(params.get("sharding_method") or "auto").lower() == "custom"


def readable_shards(name: str, params: Json, cluster: Json | None) -> tuple[ShardCount, ...]:
    """Every shard of the collection; none if the server does not list them.

    Raises PreconditionError for shards that no node holds, or of which no replica is readable.
    """
    states = _states(cluster)
    if not states:
        return ()
    # With shard keys `shard_number` is that of one key, and the numbers of shards have gaps.
    declared = None if is_custom(params) else params.get("shard_number")
    flaws = [
        f"shard {number} is on no node that the server names"
        for number in range(declared if isinstance(declared, int) else 0)
        if number not in states
    ]
    flaws += [
        f"shard {number} is {' and '.join(sorted(set(found)))} on every node that holds it"
        for number, found in sorted(states.items())
        if not set(found) & set(READABLE)
    ]
    if flaws:
        raise PreconditionError(
            f"collection '{name}' cannot be read whole: {'; '.join(flaws)}",
            remedy=f"see GET /collections/{name}/cluster and bring a replica of every shard back "
            "to Active, then run the same command again",
        )
    return tuple(ShardCount(number=number, points=None) for number in sorted(states))


def shard_warnings(cluster: Json | None) -> list[str]:
    """Warnings about transfers and inactive replicas while every shard is readable."""
    warnings = [
        f"{running} {what} are running: counts and pages may be wrong"
        for running, what in _running(cluster)
    ]
    states = {state for found in _states(cluster).values() for state in found}
    idle = sorted(states - {"Active"})
    if idle:
        warnings.append(f"some shard replicas are not active: {', '.join(idle)}")
    return warnings


def unseen_cluster(params: Json, cluster: Json | None) -> list[str]:
    """A warning when the server does not show the replicas of a collection that has several."""
    several = any(
        params.get(key) not in {None, 1} for key in ("shard_number", "replication_factor")
    )
    if cluster is not None or not several:
        return []
    return [
        "this key may not see the shards of the server: it was not checked that each has a "
        "readable replica"
    ]


def disagreement_suspects(params: Json, info: Json, cluster: Json | None) -> tuple[str, ...]:
    """Possible causes of a permanent difference between counts and pages, one text each."""
    suspects = []
    states = [state for found in _states(cluster).values() for state in found]
    replicas = params.get("replication_factor")
    if (isinstance(replicas, int) and replicas > 1) or len(states) > len(_states(cluster)):
        suspects.append("replicas of a shard that do not hold the same points")
    idle = len([state for state in states if state != "Active"])
    if idle:
        suspects.append(f"{counted(idle, 'shard replica')} that are not active")
    suspects += [f"{running} {what} that do not end" for running, what in _running(cluster)]
    if params.get("shard_number") not in {None, 1}:
        suspects.append("points that were left in a former shard by a resharding")
    queue = info.get("update_queue")
    if isinstance(queue, Mapping) and queue.get("deferred_points"):
        suspects.append(f"{queue['deferred_points']} deferred points")
    return tuple(suspects)


def _running(cluster: Json | None) -> list[tuple[int, str]]:
    lists = [(_list((cluster or {}).get(key)), what) for key, what in RUNNING]
    return [(len(found), what) for found, what in lists if found]


def _states(cluster: Json | None) -> dict[int, list[str]]:
    """Shard -> the states of its replicas. gRPC leaves out a shard 0 and the state Active."""
    states: dict[int, list[str]] = defaultdict(list)
    for replica in replicas(cluster):
        states[replica_number(replica)].append(str(replica.get("state") or "Active"))
    return states


def replicas(cluster: Json | None) -> list[Json]:
    """Every replica of every shard that the server names."""
    return [
        cast(Json, replica)
        for key in ("local_shards", "remote_shards")
        for replica in _list((cluster or {}).get(key))
        if isinstance(replica, Mapping)
    ]


def replica_number(replica: Json) -> int:
    """The number of the shard of which this is a replica. gRPC leaves out a 0."""
    return int(str(replica.get("shard_id") or 0))


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else []
