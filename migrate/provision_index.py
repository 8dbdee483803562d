"""Create the vector index and its metadata indexes, or check the existing ones."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from migrate.errors import IndeterminateError, PreconditionError, TargetRefusedError
from migrate.mapping.values import ValueRules
from migrate.model.records import VectorIndex
from migrate.plan.metadata_indexes import read_listed_types
from migrate.plan.target_shape import check_index
from migrate.ports import VectorTarget
from migrate.runtime import Runtime
from migrate.upload.settle import SettleRules

AGREEING_READS = 3  # the list of metadata indexes is neither immediate nor monotonic
Types = Mapping[str, str]  # of metadata indexes: property -> type


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundIndex:
    """What of the wanted index exists; all of it fits."""

    name: str
    index: VectorIndex | None
    wanted: Types
    listed: Mapping[str, str | None]  # each wanted property -> its type, if it is listed
    holds_vectors: bool  # the index does; not read when all metadata indexes are there
    keeps_name: bool = False  # it is one of several, by whose names the files are divided

    @property
    def metadata_missing(self) -> tuple[str, ...]:
        """The properties without an index."""
        return tuple(name for name, kind in self.listed.items() if kind is None)

    @property
    def late(self) -> tuple[str, ...]:
        """The properties without an index, of whose vectors some are there already."""
        return self.metadata_missing if self.holds_vectors else ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """In words for the operator."""
        return tuple(_late_warning(self.name, name) for name in self.late)

    def refuse_late(self) -> None:
        """Raises PreconditionError when a metadata index would come after vectors."""
        if self.late:
            names = ", ".join(f"'{name}'" for name in self.late)
            raise PreconditionError(
                f"vector index '{self.name}' holds vectors and has no metadata index {names}: a "
                "filter would not find those vectors by it until they are written again",
                remedy="`q2v provision --into-non-empty` creates it all the same; for the vectors "
                "of a run then `q2v reconcile` and `q2v migrate`, for others their own writer"
                + ("" if self.keeps_name else "; or use a fresh index"),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReport:
    """The provisioned vector index with its metadata indexes."""

    created: bool  # False: it existed
    warnings: tuple[str, ...]  # in words for the operator


def provision_index(
    vectors: VectorTarget,
    values: ValueRules,
    metadata_indexes: Types,
    settle: SettleRules,
    runtime: Runtime,
) -> IndexReport:
    """Create the index and its metadata indexes where they are missing.

    Safe to repeat. Raises PreconditionError when an index of the same name has another shape,
    IndeterminateError when the metadata indexes are not listed in time.
    """
    found = find_index(vectors, values, metadata_indexes, settle, runtime)
    create_index(found, vectors, values, settle, runtime)
    return IndexReport(created=found.index is None, warnings=found.warnings)


def find_index(
    vectors: VectorTarget,
    values: ValueRules,
    metadata_indexes: Types,
    settle: SettleRules,
    runtime: Runtime,
    *,
    keeps_name: bool = False,
) -> FoundIndex:
    """Read what exists and check that it fits; writes nothing. Raises PreconditionError.

    `keeps_name`: it is one of several vector indexes, so advice names no other one.
    """
    index = vectors.read_index()
    listed: dict[str, str | None] = dict.fromkeys(metadata_indexes)
    if index is not None:
        check_index(index, values, keeps_name=keeps_name)
        listed = read_listed_types(
            vectors, metadata_indexes, pause_s=settle.poll_s, clock=runtime.clock
        )
    name = vectors.identity()["vector_index"]
    is_late = index is not None and None in listed.values()
    is_other = any(listed[one] not in {None, kind} for one, kind in metadata_indexes.items())
    holds_vectors = (is_late or is_other) and bool(next(iter(vectors.list_ids()), []))
    _check_types(name, listed, metadata_indexes, again=_again(into_non_empty=holds_vectors))
    return FoundIndex(
        name=name,
        index=index,
        wanted=metadata_indexes,
        listed=listed,
        holds_vectors=holds_vectors,
        keeps_name=keeps_name,
    )


def create_index(
    found: FoundIndex,
    vectors: VectorTarget,
    values: ValueRules,
    settle: SettleRules,
    runtime: Runtime,
) -> None:
    """Create what was not found. Raises as `provision_index` does."""
    if found.index is None:
        check_index(_create(vectors, values), values, keeps_name=found.keeps_name)
    for name in found.metadata_missing:
        vectors.create_metadata_index(name, found.wanted[name])
    again = _again(into_non_empty=bool(found.late))
    _wait_until_listed(vectors, found.wanted, settle, runtime, again=again)


def _again(*, into_non_empty: bool) -> str:
    """The command that adds a metadata index, as advice has it."""
    return "`q2v provision --into-non-empty`" if into_non_empty else "`q2v provision`"


def _create(vectors: VectorTarget, values: ValueRules) -> VectorIndex:
    """Create the index, or take the one that another command has created since it was read."""
    try:
        return vectors.create_index(dimensions=values.dimensions, metric=values.metric)
    except TargetRefusedError:
        index = vectors.read_index()
        if index is None:
            raise
        return index


def _check_types(
    index: str, listed: Mapping[str, str | None], wanted: Types, *, again: str
) -> None:
    """Raises PreconditionError for a metadata index that exists with another type."""
    for name, kind in wanted.items():
        if listed[name] not in {None, kind}:
            drop = ["wrangler", "vectorize", "delete-metadata-index", index]
            raise PreconditionError(
                f"metadata index '{name}' is a {listed[name]}, the settings say {kind}",
                remedy="change target.metadata_indexes, or drop it and run "
                f"{again} again: {shlex.join([*drop, f'--property-name={name}'])}",
            )


def _wait_until_listed(
    target: VectorTarget, wanted: Types, settle: SettleRules, runtime: Runtime, *, again: str
) -> None:
    """Wait until several reads in a row show all metadata indexes."""
    clock = runtime.clock
    agreeing = 0
    deadline = clock.monotonic_s() + settle.timeout_s
    while agreeing < AGREEING_READS:
        if clock.monotonic_s() > deadline:
            raise IndeterminateError(
                f"metadata indexes {', '.join(wanted)} are not listed yet",
                remedy=f"run {again} again: it continues to wait",
            )
        found = target.read_metadata_indexes()
        if all(found.get(name) == kind for name, kind in wanted.items()):
            agreeing += 1
        else:
            agreeing = 0
            runtime.progress.say("waiting until the metadata indexes are listed")
            clock.wait(settle.poll_s)


def _late_warning(index: str, name: str) -> str:
    return (
        f"vector index '{index}' held vectors before the metadata index '{name}' was created: a "
        f"filter on '{name}' does not find those until they are written again. For the vectors of "
        "a run: `q2v reconcile`, then `q2v migrate`. Others: their own writer"
    )
