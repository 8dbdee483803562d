"""Which vector moves and into what shape; everything else is refused before a write."""

from dataclasses import replace

import pytest

from migrate.errors import PreconditionError
from migrate.mapping.values import ValueRules
from migrate.model.choices import Reduce
from migrate.model.records import VectorIndex, VectorKind, VectorSpec
from migrate.plan.target_shape import check_index, choose_values

SPEC = VectorSpec(
    name="", kind=VectorKind.DENSE, dimensions=768, distance="Cosine", datatype="float32"
)
SPARSE = VectorSpec(
    name="words", kind=VectorKind.SPARSE, dimensions=None, distance=None, datatype="float32"
)
MULTI = replace(SPEC, name="colbert", kind=VectorKind.MULTI)


def choose(
    *vectors: VectorSpec,
    name: str = "",
    dimensions: int | None = None,
    reduce: Reduce = "none",
    allow_cast: bool = False,
) -> ValueRules:
    return choose_values(
        vectors, vector_name=name, dimensions=dimensions, reduce=reduce, allow_cast=allow_cast
    )


def wide(dimensions: int) -> VectorSpec:
    return replace(SPEC, dimensions=dimensions)


@pytest.mark.fault("P01")
@pytest.mark.parametrize("dimensions", [32, 33, 1535, 1536])
def test_dimensions_that_the_target_takes(dimensions: int) -> None:
    rules = choose(wide(dimensions))

    assert (dimensions, dimensions, "cosine") == (
        rules.source_dimensions,
        rules.dimensions,
        rules.metric,
    )


@pytest.mark.fault("P01")
@pytest.mark.parametrize(
    ("found", "wanted", "message"),
    [
        (1537, None, "1537 dimensions, the target takes at most 1536"),
        (31, None, "31 dimensions, the target takes at least 32"),
        (3072, 1537, "at most 1536"),
        (768, 31, "at least 32"),
        (768, 769, "has 768 dimensions, mapping.dimensions asks for 769"),
    ],
)
def test_dimensions_that_the_target_refuses(found: int, wanted: int | None, message: str) -> None:
    for reduce in ("none", "matryoshka"):
        with pytest.raises(PreconditionError, match=message) as caught:
            choose(wide(found), dimensions=wanted, reduce=reduce)
        assert caught.value.remedy


@pytest.mark.fault("P01")
def test_nothing_is_cut_without_being_asked_for() -> None:
    with pytest.raises(PreconditionError, match="nothing is cut silently"):
        choose(wide(3072), dimensions=1536)
    rules = choose(wide(3072), dimensions=1536, reduce="matryoshka")

    assert (rules.source_dimensions, rules.dimensions, rules.reduce) == (3072, 1536, "matryoshka")


@pytest.mark.fault("P01")
@pytest.mark.parametrize(
    ("distance", "metric"),
    [("Cosine", "cosine"), ("Euclid", "euclidean"), ("Dot", "dot-product")],
)
def test_metrics_that_the_target_knows(distance: str, metric: str) -> None:
    assert metric == choose(replace(SPEC, distance=distance)).metric


@pytest.mark.fault("P01")
@pytest.mark.parametrize("distance", ["Manhattan", "", None, "cosine"])
def test_metrics_that_the_target_does_not_know(distance: str | None) -> None:
    with pytest.raises(PreconditionError, match="the target knows cosine, dot-product, euclidean"):
        choose(replace(SPEC, distance=distance))


@pytest.mark.fault("P02")
def test_one_of_several_vectors_is_chosen_by_name_and_never_guessed() -> None:
    named = [replace(SPEC, name="image"), replace(SPEC, name="text", dimensions=64)]

    assert (
        choose(*named, name="text").vector_name,
        choose(*named, name="text").dimensions,
    ) == ("text", 64)
    with pytest.raises(PreconditionError, match=r"it has: 'image' \(dense\), 'text' \(dense\)"):
        choose(*named)


@pytest.mark.fault("P01")
@pytest.mark.parametrize("name", ["words", "colbert", "none"])
def test_sparse_and_multi_vectors_have_no_counterpart(name: str) -> None:
    with pytest.raises(PreconditionError, match=f"no dense vector '{name}'"):
        choose(SPEC, SPARSE, MULTI, name=name)
    with pytest.raises(PreconditionError, match="it has: none"):
        choose(name=name)


@pytest.mark.fault("P01")
@pytest.mark.parametrize("datatype", ["float16", "uint8", "turbo4"])
def test_another_datatype_moves_only_by_explicit_cast(datatype: str) -> None:
    spec = replace(SPEC, datatype=datatype)
    with pytest.raises(PreconditionError, match=f"stored as {datatype}, the target stores float32"):
        choose(spec)

    assert choose(SPEC) == choose(spec, allow_cast=True)


@pytest.mark.fault("P01")
def test_an_index_takes_the_values_as_they_are_or_not_at_all() -> None:
    index = VectorIndex(name="chunks", dimensions=768, metric="cosine", created_on="now")
    rules = choose(SPEC)
    check_index(index, rules)

    for other in (replace(index, dimensions=767), replace(index, metric="euclidean")):
        with pytest.raises(PreconditionError, match="the plan needs 768 and cosine"):
            check_index(other, rules)
