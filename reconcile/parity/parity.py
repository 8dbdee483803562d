"""Measure how much of the source's answers smaller vectors keep, and how much the index answers."""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from migrate.errors import ExitCode, UsageError
from migrate.mapping.values import ValueRules, reduce_values
from migrate.model.limits import DIMENSIONS_MAX, DIMENSIONS_MIN, QUERY_IDS_MAX
from migrate.model.records import VectorId
from migrate.plan.target_shape import chosen_vector, metric_of
from migrate.ports import VectorTarget
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.storage.layout import PARITY
from migrate.words import counted
from migrate.workers.executors import Machines, run_tasks
from migrate.workers.ordered import in_order
from reconcile.gate.files import read_compared
from reconcile.parity.measures import measure
from reconcile.parity.nearest import NO_ROW, Answers, MergedSearch, Ranking
from reconcile.parity.queries import NamedQueries
from reconcile.parity.summary import Kept, summarise
from reconcile.parity.tasks import Searched, SearchTask, search, store

Verdict = Literal["pass", "fail", "measured", "indeterminate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRules:
    """What is measured, and what is enough."""

    vector_name: str
    dimensions: int  # of the source
    metric: str  # cosine, euclidean, dot-product
    widths: tuple[int, ...]  # to which vectors are reduced; the whole width is not among them
    top: int  # places of a ranking that an application shows
    overlap_min: float | None  # mean share of them that has to be kept; None: nothing is judged
    seed: int  # of the intervals


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """What search keeps."""

    verdict: Verdict
    why: str  # of the verdict; for people
    rules: ParityRules
    # width -> how much of the source's answers exact search at this width keeps
    curve: dict[int, Kept] = field(default_factory=dict)
    index_width: int | None = None  # of the vector index; None: no index was asked
    index: Kept | None = None  # the index against exact search over the same vectors at its width
    whole: Kept | None = None  # the index against the source
    strangers: int = 0  # answers of the index that are no vectors of the run

    @property
    def exit_code(self) -> ExitCode:
        """13 for indeterminate, 4 for fail, else 0."""
        codes: dict[str, ExitCode] = {
            "indeterminate": ExitCode.INDETERMINATE,
            "fail": ExitCode.DRIFT,
        }
        return codes.get(self.verdict, ExitCode.DONE)


def rules_for(
    snapshot: Snapshot,
    vector_name: str,
    widths: Iterable[int],
    *,
    top: int,
    overlap_min: float | None,
    seed: int,
) -> ParityRules:
    """The rules for a vector of the snapshot. Without `widths`: halves that an index may have.

    Raises PreconditionError when there is no such vector or no such metric, UsageError for a width
    that is not a smaller one.
    """
    spec = chosen_vector(snapshot.manifest.vectors, vector_name)
    assert spec.dimensions is not None, "a dense vector was chosen"
    chosen = set(widths) or set(_halves(spec.dimensions))
    for width in sorted(chosen):
        if not 0 < width <= spec.dimensions:
            raise UsageError(
                f"found the width {width:,}, expected one of 1 to {spec.dimensions:,}: the vector "
                f"'{spec.name}' has {spec.dimensions:,} dimensions",
                remedy="correct --at",
            )
    return ParityRules(
        vector_name=vector_name,
        dimensions=spec.dimensions,
        metric=metric_of(spec),
        widths=tuple(sorted(chosen - {spec.dimensions})),
        top=top,
        overlap_min=overlap_min,
        seed=seed,
    )


def _halves(dimensions: int) -> list[int]:
    halves = [dimensions >> times for times in range(1, dimensions.bit_length())]
    return [width for width in halves if DIMENSIONS_MIN <= width <= DIMENSIONS_MAX]


def measure_snapshot(
    snapshot: Snapshot,
    queries: NamedQueries,
    rules: ParityRules,
    runtime: Runtime,
    *,
    machines: Machines | None = None,
) -> ParityReport:
    """What exact search in reduced vectors keeps of exact search in whole ones.

    Reads the snapshot once; `machines` search its parts, None: this process. The smallest width is
    the one that is judged.
    """
    if not queries.names:
        return _without_queries(rules)
    found = _search(snapshot, queries, rules, runtime, machines=machines)
    curve = _curve(found, queries, rules)
    least = min(curve, default=rules.dimensions)
    verdict, why = _judge(curve.get(least), rules, f"exact search at {least:,} dimensions")
    return ParityReport(verdict=verdict, why=why, rules=rules, curve=curve)


def measure_index(
    run: RunFolder,
    target: VectorTarget,
    queries: NamedQueries,
    rules: ParityRules,
    runtime: Runtime,
    *,
    machines: Machines | None = None,
) -> ParityReport:
    """What the run's vector index answers, against exact search over the same vectors.

    Sends one request for each query, and one more. An index that is not known to be complete is
    not asked: its answers would say nothing.
    """
    why = incomplete(run, target)
    if why:
        return ParityReport(verdict="indeterminate", why=why, rules=rules)
    if not queries.names:
        return _without_queries(rules)
    values = run.plan.values
    ids = _ask(target, queries, values, runtime)
    answers, strangers = _rows_of(run, ids, queries)
    found = _search(
        run.snapshot,
        queries,
        rules,
        runtime,
        excluded=run.excluded_rows(),
        answers=answers,
        machines=machines,
    )
    answered = found.answered()
    index = _kept(
        _by_own_scores(found.rankings()[values.dimensions]),
        _by_own_scores(answered),
        queries,
        rules,
    )
    verdict, why = _judge(index, rules, "the vector index")
    return ParityReport(
        verdict=verdict,
        why=why,
        rules=rules,
        curve=_curve(found, queries, rules),
        index_width=values.dimensions,
        index=index,
        whole=_kept(_whole(found), answered, queries, rules),
        strangers=strangers,
    )


def incomplete(run: RunFolder, target: VectorTarget) -> str:
    """Why the index is not known to hold all vectors of the run and no others; empty: it does.

    Its last reconcile has to say so, for the run as it stands, and the count that the index
    announces now has to be the one of that reconcile.
    """
    compared = read_compared(run)
    if compared.report is None:
        return "no reconcile of this run has ended: run `q2v reconcile` first"
    if compared.outdated or compared.report.verdict != "equal":
        said = compared.outdated or f"the newest reconcile says {compared.report.verdict}"
        return f"{said}: mend it, and run `q2v reconcile` again"
    listed, now = compared.member("counts").get("vector_index"), target.count_vectors()
    if listed != now:
        return (
            f"the index announces {counted(now, 'vector')}, the newest reconcile listed "
            f"{listed}: run "
            "`q2v reconcile` again"
        )
    return ""


def _ask(
    target: VectorTarget, queries: NamedQueries, values: ValueRules, runtime: Runtime
) -> list[list[VectorId]]:
    """The ids that the index answers to each query."""
    reduced = reduce_values(queries.vectors.values, values)

    def ask(at: int) -> list[VectorId]:
        return target.find(reduced[at].tolist(), {}, limit=QUERY_IDS_MAX)

    count = len(queries.names)
    runtime.progress.start("asking the index", total=count, unit="queries", requests=count)
    found: list[list[VectorId]] = []
    with closing(in_order(ask, range(count), width=runtime.reads_in_flight)) as answers:
        for _, ids in answers:
            found.append(ids)
            runtime.progress.advance(1)
    return found


def _rows_of(
    run: RunFolder, found: Sequence[Sequence[VectorId]], queries: NamedQueries
) -> tuple[Answers, int]:
    """The answers by row, without each query itself; and how many of them are of no row."""
    wanted = {vector_id for ids in found for vector_id in ids}
    rows: dict[str, int] = {}
    for batch in run.targets(["row", "vector_id"], excluded=run.refused_rows()):
        for row, vector_id in zip(
            batch.column("row").to_pylist(), batch.column("vector_id").to_pylist(), strict=True
        ):
            if vector_id in wanted:
                rows[vector_id] = row
    pairs = [
        (query, rows[vector_id])
        for query, ids in enumerate(found)
        for vector_id in dict.fromkeys(ids)
        if vector_id in rows and rows[vector_id] != queries.vectors.own_rows[query]
    ]
    table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    strangers = sum(vector_id not in rows for ids in found for vector_id in ids)
    answers = Answers(width=run.plan.values.dimensions, queries=table[:, 0], rows=table[:, 1])
    return answers, strangers


def _search(
    snapshot: Snapshot,
    queries: NamedQueries,
    rules: ParityRules,
    runtime: Runtime,
    *,
    excluded: AbstractSet[int] = frozenset(),
    answers: Answers | None = None,
    machines: Machines | None = None,
) -> MergedSearch:
    """Search all rows but the excluded ones, a part at a time."""
    vectors = queries.vectors
    merged = MergedSearch(vectors, rules.widths, answers=answers)
    points = snapshot.manifest.points
    runtime.progress.start("searching the snapshot", total=points, unit="points")
    here = Searched(queries=vectors, answers=answers)
    searched = here if machines is None else store(here, snapshot.folder.child(PARITY))
    counts: list[int] = []  # of the rows of each task, in their order

    def tasks() -> Iterator[SearchTask]:
        for whole in snapshot.live_parts():
            part = whole.without(excluded)
            counts.append(whole.wanted)
            first_row = int(part.rows[part.rows != NO_ROW].min(initial=points))
            yield SearchTask(
                part=part,
                vector_name=rules.vector_name,
                searched=searched,
                widths=rules.widths,
                metric=rules.metric,
                floors=merged.floors(first_row),
            )

    for number, found in enumerate(run_tasks(search, tasks(), machines)):
        merged.add(found)
        runtime.progress.advance(counts[number])
    return merged


def _curve(found: MergedSearch, queries: NamedQueries, rules: ParityRules) -> dict[int, Kept]:
    *smaller, (_, whole) = found.rankings().items()
    return {width: _kept(whole, ranking, queries, rules) for width, ranking in smaller}


def _whole(found: MergedSearch) -> Ranking:
    rankings = found.rankings()
    return rankings[max(rankings)]


def _by_own_scores(ranking: Ranking) -> Ranking:
    """The ranking as one that refers to nothing but itself."""
    return Ranking(ranking.rows, ranking.scores, ranking.scores)


def _kept(reference: Ranking, found: Ranking, queries: NamedQueries, rules: ParityRules) -> Kept:
    measures = measure(reference, found, top=rules.top)
    return summarise(measures, queries.names, queries.files, seed=rules.seed)


def _judge(kept: Kept | None, rules: ParityRules, who: str) -> tuple[Verdict, str]:
    if kept is None or rules.overlap_min is None:
        return "measured", "no least overlap was asked for, so nothing is judged"
    mean = kept.overlap.mean
    words = (
        f"{who} keeps {mean:.3f} of the first {rules.top}, at least {rules.overlap_min:g} expected"
    )
    return ("pass" if mean >= rules.overlap_min else "fail"), words


def _without_queries(rules: ParityRules) -> ParityReport:
    why = "there is no query, so nothing was measured"
    return ParityReport(verdict="indeterminate", why=why, rules=rules)
