"""Check that the target has the declared metadata indexes; a single read may be stale."""

from collections.abc import Mapping

from migrate.errors import PreconditionError
from migrate.ports import Clock, VectorTarget
from migrate.workers.repeat import repeat_until

READS_MAX = 4  # observed: empty, both, one, both (docs/services.md)


def read_listed_types(
    target: VectorTarget, wanted: Mapping[str, str], *, pause_s: float, clock: Clock
) -> dict[str, str | None]:
    """Wanted property -> the type that the target lists; None when it lists no such index.

    One read that shows the wanted type is enough; a missing index or another type counts only
    after several reads.
    """
    listed: dict[str, str | None] = dict.fromkeys(wanted)

    def read() -> dict[str, str | None]:
        shown = target.read_metadata_indexes()
        for name, index_type in wanted.items():
            if listed[name] != index_type:
                listed[name] = shown.get(name, listed[name])
        return listed

    if not wanted:
        return listed
    pauses_s = [pause_s] * (READS_MAX - 1)
    return repeat_until(read, lambda listed: listed == wanted, pauses_s, clock=clock)


def missing_metadata_indexes(
    target: VectorTarget, wanted: Mapping[str, str], *, pause_s: float, clock: Clock
) -> tuple[str, ...]:
    """The wanted metadata indexes that are missing or have another type, as text."""
    listed = read_listed_types(target, wanted, pause_s=pause_s, clock=clock)
    return tuple(
        name
        if listed[name] is None
        else f"{name} (is a {listed[name]}, {wanted[name]} is declared)"
        for name in wanted
        if listed[name] != wanted[name]
    )


def check_metadata_indexes(
    target: VectorTarget,
    wanted: Mapping[str, str],
    *,
    holds_vectors: bool,
    pause_s: float,
    clock: Clock,
) -> None:
    """Raises PreconditionError if one is missing: vectors written before it are not filterable.

    `holds_vectors`: the index does, or may, so `q2v provision` needs a flag to add one.
    """
    missing = missing_metadata_indexes(target, wanted, pause_s=pause_s, clock=clock)
    if missing:
        way = "`q2v provision --into-non-empty`" if holds_vectors else "`q2v provision`"
        raise PreconditionError(
            f"metadata indexes are missing: {', '.join(missing)}",
            remedy=f"run {way}, then try again (they show some seconds after creation)",
        )
