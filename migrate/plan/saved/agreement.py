"""Whether what was agreed on still holds; each difference says what was planned and what is now."""

from collections.abc import Iterable, Iterator, Mapping

from migrate.errors import PreconditionError
from migrate.model.records import VectorIndex
from migrate.plan.saved.holdings import Holdings
from migrate.plan.saved.record import PlannedPoints, PlannedSource, PlannedTarget, SavedPlan
from migrate.words import counted

_WRITERS = "find out what else writes there"
_FLAGS = {"vector index": "--vector-index", "KV namespace": "--kv-namespace-id"}
_AGAIN = "run `q2v plan --out FILE` again and agree on it"


def check_settings(plan: SavedPlan, settings: Mapping[str, str], where: str) -> None:
    """Raises PreconditionError when a setting that decides what is written has another value."""
    names = sorted({*plan.settings, *settings})
    moved = [
        _moved(name, plan.settings.get(name, "nothing"), settings.get(name, "nothing"))
        for name in names
        if plan.settings.get(name) != settings.get(name)
    ]
    _refuse(where, moved, f"put the settings back, or {_AGAIN}")


def check_source(plan: SavedPlan, now: PlannedSource, where: str) -> None:
    """Raises PreconditionError when another source or another snapshot is to be moved."""
    planned = plan.source
    moved = [
        _moved(name, before, after)
        for name, before, after in (
            ("collection", planned.collection, now.collection),
            ("source", planned.place, now.place),
            ("filter", planned.filter or "none", now.filter or "none"),
        )
        if before != after
    ]
    if planned.snapshot_id is not None:
        moved += [
            _moved(name, before, after)
            for name, before, after in (
                ("snapshot", planned.snapshot_id, now.snapshot_id),
                ("content root", planned.content_root, now.content_root),
            )
            if before != after
        ]
    _refuse(where, moved, f"name the source or the snapshot that was planned, or {_AGAIN}")


def check_target_names(plan: SavedPlan, now: Mapping[str, str | None], where: str) -> None:
    """Raises PreconditionError when the settings name another target. Asks nothing.

    `now` has `host`, `account` (fingerprint), `vector_index` and `kv_namespace`.
    """
    planned = plan.target
    named = [
        ("Cloudflare API at", planned.host, now["host"]),
        ("account with fingerprint", planned.account, now["account"]),
        ("vector index", planned.vector_index, now["vector_index"]),
    ]
    if planned.kv_namespace is not None:
        named.append(("KV namespace", planned.kv_namespace, now["kv_namespace"]))
    moved = [
        _moved(name, before, "not configured" if after is None else after)
        for name, before, after in named
        if before != after
    ]
    flags = "".join(_flags(named))
    _refuse(where, moved, f"name the target that was planned{flags}, or {_AGAIN}")


def _flags(named: Iterable[tuple[str, str, str | None]]) -> Iterator[str]:
    """What to type for the planned names, of those that have a flag."""
    for name, before, after in named:
        if before != after and name in _FLAGS:
            yield f", with {_FLAGS[name]} {before}"


def check_target(planned: PlannedTarget, index: VectorIndex, holds: Holdings, where: str) -> None:
    """Raises PreconditionError when the index is another one, or index or namespace hold other.

    An index or a namespace that was to be provisioned has to be as planned, and empty.
    """
    moved = [*_index_moved(planned, index), *_holdings_moved(planned.holds, holds)]
    _refuse(where, moved, f"{_WRITERS}; {_AGAIN} when the target is as it should be")


def check_index(planned: PlannedTarget, index: VectorIndex, where: str) -> None:
    """As `check_target`, whatever the target holds: a run that has begun has written to it."""
    moved = list(_index_moved(planned, index))
    _refuse(where, moved, f"{_WRITERS}; {_AGAIN} when the target is as it should be")


def _index_moved(planned: PlannedTarget, index: VectorIndex) -> Iterator[str]:
    shape = f"{planned.dimensions:,} dimensions, {planned.metric}"
    now = f"{index.dimensions:,} dimensions, {index.metric}"
    if shape != now:
        yield _moved("vector index", shape, now)
    if planned.created_on not in {None, index.created_on}:
        yield _moved("vector index created", planned.created_on, index.created_on)


def _holdings_moved(planned: Holdings, now: Holdings) -> Iterator[str]:
    for what, noun, before, after in (
        (
            "the vector index holds",
            "vector",
            (planned.vectors, planned.vectors_sha256),
            (now.vectors, now.vectors_sha256),
        ),
        (
            "the KV namespace holds",
            "key",
            (planned.keys, planned.keys_sha256),
            (now.keys, now.keys_sha256),
        ),
    ):
        if before[0] != after[0]:
            yield _moved(what, counted(before[0], noun), counted(after[0], noun))
        elif before != after:
            yield _moved(what, counted(before[0], noun), f"{after[0]:,} others")


def check_points(planned: PlannedPoints, now: PlannedPoints, where: str) -> None:
    """Raises PreconditionError when other points would move, or the same ones otherwise."""
    moved = [
        _moved(name, f"{before:,}", f"{after:,}")
        for name, before, after in (
            ("points", planned.points, now.points),
            ("vectors", planned.vectors, now.vectors),
            ("files", planned.files, now.files),
        )
        if before != after
    ]
    for reason in sorted({*planned.quarantined, *now.quarantined}):
        before, after = planned.quarantined.get(reason, 0), now.quarantined.get(reason, 0)
        if before != after:
            moved.append(_moved(f"left out as {reason}", f"{before:,}", f"{after:,}"))
    if not moved and planned.rows_sha256 != now.rows_sha256:
        moved.append(
            _moved(
                "vectors by content",
                f"digest {planned.rows_sha256[:16]}",
                f"{now.rows_sha256[:16]}, with the same counts",
            )
        )
    _refuse(where, moved, f"the source has changed since: {_AGAIN}")


def _moved(name: str, planned: object, now: object) -> str:
    return f"{name}: planned {planned}, now {now}"


def _refuse(where: str, moved: list[str], remedy: str) -> None:
    if moved:
        raise PreconditionError(
            f"{where}: this plan is not carried out, because it no longer fits: "
            + "; ".join(moved),
            remedy=f"{remedy}; nothing has been written to the target",
        )
