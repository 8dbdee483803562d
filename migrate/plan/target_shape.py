"""Choose the vector of a collection that moves and its shape; refuse impossible ones."""

import shlex
from collections.abc import Sequence

from migrate.errors import PreconditionError
from migrate.mapping.values import ValueRules
from migrate.model.choices import Reduce
from migrate.model.limits import DIMENSIONS_MAX, DIMENSIONS_MIN, VECTORS_PER_INDEX_MAX
from migrate.model.records import VectorIndex, VectorKind, VectorSpec
from migrate.words import subject

METRICS = {"Cosine": "cosine", "Euclid": "euclidean", "Dot": "dot-product"}
EXACT_DATATYPE = "float32"
BEYOND_AN_INDEX_REMEDY = (
    "divide its files over several indexes, or over more of them, with target.shards "
    "(docs/several-indexes.md), or ask the provider for a larger index"
)
# Of several vector indexes one alone gets no other name.
KEPT_NAME = "the files are divided by the names in target.shards, so this one stays"
FRESH_INDEXES = (
    "set target.shards to new names, all of them and with no run of the move left standing (the "
    "files are divided by these names), leave target.kv_namespace_id out, and create each with "
    "`q2v provision --vector-index NAME`"
)


def choose_values(
    vectors: Sequence[VectorSpec],
    *,
    vector_name: str,
    dimensions: int | None,
    reduce: Reduce,
    allow_cast: bool,
) -> ValueRules:
    """The rules by which values move; `dimensions` None means the source's own.

    Raises PreconditionError when the collection has no such dense vector, when the target has no
    such metric, or when the values would not fit: values are cut only if the settings say so.
    """
    spec = chosen_vector(vectors, vector_name)
    assert spec.dimensions is not None
    metric = metric_of(spec)
    if spec.datatype != EXACT_DATATYPE and not allow_cast:
        raise PreconditionError(
            f"vector '{spec.name}' is stored as {spec.datatype}, "
            f"the target stores {EXACT_DATATYPE}",
            remedy="pass --allow-cast to move the stored values as float32",
        )
    _check_dimensions(spec.dimensions, dimensions, reduce)
    return ValueRules(
        vector_name=spec.name,
        source_dimensions=spec.dimensions,
        dimensions=dimensions if dimensions is not None else spec.dimensions,
        reduce=reduce,
        metric=metric,
    )


def metric_of(spec: VectorSpec) -> str:
    """The target's name of the vector's metric. Raises PreconditionError when it has none."""
    metric = METRICS.get(spec.distance or "")
    if metric is None:
        raise PreconditionError(
            f"vector '{spec.name}' is compared by {spec.distance}, the target knows "
            f"{', '.join(sorted(METRICS.values()))}",
            remedy="re-embed into a collection with one of these metrics",
        )
    return metric


def chosen_vector(vectors: Sequence[VectorSpec], vector_name: str) -> VectorSpec:
    """The dense vector of this name. Raises PreconditionError when there is none."""
    dense = [spec for spec in vectors if spec.kind is VectorKind.DENSE]
    names = ", ".join(f"'{spec.name}' ({spec.kind})" for spec in vectors) or "none"
    chosen = next((spec for spec in dense if spec.name == vector_name), None)
    if chosen is None:
        raise PreconditionError(
            f"the collection has no dense vector '{vector_name}'; it has: {names}",
            remedy="name one with source.vector_name (Q2V_VECTOR_NAME); sparse and multi vectors "
            "have no counterpart in the target",
        )
    return chosen


def _check_dimensions(found: int, wanted: int | None, reduce: Reduce) -> None:
    target = found if wanted is None else wanted
    if target > DIMENSIONS_MAX:
        raise PreconditionError(
            f"the source has {found} dimensions, the target takes at most {DIMENSIONS_MAX}",
            remedy=f'set mapping.dimensions = {DIMENSIONS_MAX} and mapping.reduce = "matryoshka" '
            "(keeps the first values and renormalises: right only for models trained for it, such "
            "as text-embedding-3-*), or re-embed with a model of fewer dimensions",
        )
    if target < DIMENSIONS_MIN:
        raise PreconditionError(
            f"{target} dimensions, the target takes at least {DIMENSIONS_MIN}",
            remedy="re-embed with a model of more dimensions",
        )
    if target > found:
        raise PreconditionError(
            f"the source has {found} dimensions, mapping.dimensions asks for {target}",
            remedy=f"set mapping.dimensions to {found} or less",
        )
    if target < found and reduce == "none":
        raise PreconditionError(
            f"the source has {found} dimensions, mapping.dimensions asks for {target}, "
            'and mapping.reduce is "none": nothing is cut silently',
            remedy='set mapping.reduce = "matryoshka" (right only for models trained for it, such '
            "as text-embedding-3-*), or re-embed",
        )


def check_index(index: VectorIndex, rules: ValueRules, *, keeps_name: bool = False) -> None:
    """Raises PreconditionError unless the vector index takes these values as they are.

    `keeps_name`: files are divided over several indexes by their names, so a fresh name for one of
    them is no way out.
    """
    found = (index.dimensions, index.metric)
    expected = (rules.dimensions, rules.metric)
    if found != expected:
        way = "use a fresh index name (`q2v provision` creates it)"
        if keeps_name:
            way = (
                f"{KEPT_NAME}; if nothing uses the index, run "
                f"{shlex.join(['wrangler', 'vectorize', 'delete', index.name])}, then "
                "`q2v provision`"
            )
        raise PreconditionError(
            f"vector index '{index.name}' has {found[0]} dimensions and metric {found[1]}, "
            f"the plan needs {expected[0]} and {expected[1]}",
            remedy=f"{way}, or change the mapping",
        )


def beyond_an_index(vectors: int) -> str | None:
    """What is wrong with this number of vectors in one index; None: an index takes them.

    No refusal: the provider has raised the limit before.
    """
    if vectors <= VECTORS_PER_INDEX_MAX:
        return None
    return f"{subject(vectors, 'vector', 'is')} too many for an index of {VECTORS_PER_INDEX_MAX:,}"
