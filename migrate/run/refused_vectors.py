"""Vectors that the target refused: the run has not written them and does not expect them.

Also the errors that stop a run for refusals.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice

from migrate.errors import QuarantineExceededError, TargetRefusedError
from migrate.mapping.payload import encode_kv_key
from migrate.model.records import VectorId
from migrate.plan.record import RunPlan
from migrate.run.folder import RunFolder
from migrate.run.journal import RunState
from migrate.run.pre_image_files import VectorPreImage, read_vector_pre_images
from migrate.storage.layout import part_name
from migrate.words import counted, subject

REFUSED_SHOWN_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedPoint:
    """A point that is left out because the target refused its vector."""

    row: int
    point_id: str
    vector_id: str
    answer: str  # the target's, without secrets


def refused_points(run: RunFolder) -> tuple[RefusedPoint, ...]:
    """The first refused points, by row; the journal holds all."""
    vectors = run.state().refused
    return tuple(
        RefusedPoint(
            row=point.row,
            point_id=point.point_id.text,
            vector_id=vectors[point.row].vector_id,
            answer=point.outcome.detail,
        )
        for point in islice(run.refused(), REFUSED_SHOWN_MAX)
    )


def read_pre_images(run: RunFolder) -> Iterator[VectorPreImage]:
    """The pre-image of every vector of the plan, in row order."""
    kept = run.state().pre_image_parts
    ordinal = 0
    while (name := part_name(ordinal)) in kept:
        yield from read_vector_pre_images(run.pre_images.file(name), kept[name][1])
        ordinal += 1


def unwritten_rows(run: RunFolder) -> frozenset[int]:
    """Rows whose vector is refused and was not written by an earlier round."""
    return run.state().refusals().unwritten


def former_of_refused(run: RunFolder, *, until_round: int | None = None) -> list[VectorId]:
    """Ids whose new vector was refused and of which the index still holds the former vector.

    They count as content from before the run, as other vectors that the run did not write.
    With `until_round`: those at the end of this round.
    """
    rows = run.state().refusals(until_round=until_round).unwritten
    if not rows:
        return []
    return [
        record.vector_id
        for record in read_pre_images(run)
        if record.row in rows and record.former is not None
    ]


def keys_of_refused(run: RunFolder, round_ordinal: int) -> frozenset[str]:
    """KV keys of the files that have a vector refused in this round: their entries change."""
    rows = {row for row, vector in run.state().refused.items() if vector.round == round_ordinal}
    return keys_of_rows(run, rows)


def keys_of_rows(run: RunFolder, rows: AbstractSet[int]) -> frozenset[str]:
    """KV keys of the files that these rows belong to."""
    if not rows:
        return frozenset()
    return frozenset(
        encode_kv_key(file, run.plan.mapping)
        for batch in run.targets(["file"], only=rows)
        for file in batch.column("file").to_pylist()
        if file is not None
    )


def too_many_refused(
    plan: RunPlan, state: RunState, *, cap: int, allowed: int
) -> QuarantineExceededError:
    """Build the error for more refused vectors than may be left out.

    `cap` limits all points left out, including those that the plan quarantined.
    """
    refused, planned = len(state.refused), sum(plan.quarantined.values())
    last = max(state.refused.values(), key=lambda vector: (vector.round, vector.row))
    return QuarantineExceededError(
        f"the target refused {counted(refused, 'vector')} one by one and took "
        f"{state.vectors_acknowledged()}; {allowed} may be left out here ({cap} in all, {planned} "
        f"of them by the plan); its last answer, for '{last.vector_id}': {last.text}",
        remedy="correct what the answer names, then send them again with `q2v migrate "
        f"--retry-refused`; or leave them out with `q2v migrate --max-quarantine "
        f"{planned + refused}` or more; or undo the run with `q2v rollback --execute`",
    )


def unexplained_refusals(error: TargetRefusedError, vectors: int) -> TargetRefusedError:
    """Build the error for single vectors that were refused without evidence of their fault."""
    return TargetRefusedError(
        f"{error}; {subject(vectors, 'vector', 'was')} refused one by one with this answer; "
        "there is no "
        "evidence that they are at fault: no upload was taken in between",
        remedy="find the cause that the answer names, then run `q2v migrate` again: it sends them "
        "again; or leave them out with `q2v migrate --waive refused`",
        refused_part=error.refused_part,
        too_large=error.too_large,
        evidence=error.evidence,
    )
