"""The step about search: what the cut keeps of it, and what the model's own widths would keep."""

from collections.abc import Sequence

import numpy as np

from migrate.snapshot.folder import Snapshot
from reconcile.parity.measures import measure
from reconcile.parity.nearest import NO_ROW, NestedSearch, Queries
from reconcile.parity.parity import ParityReport
from rehearsal.context import Context
from rehearsal.corpus.build import read_chunks
from rehearsal.corpus.embedding import MODEL_DIMENSIONS, embed_texts
from rehearsal.script import Script, expect

# What the corpus has to keep. Its width is synthetic: a cut of a fixed projection keeps angles
# about as well as chance does, which for 1,536 of 3,072 is above this.
OVERLAP_MIN = 0.8
TOP = 10
QUERIES = 200
CHUNKS = 1_000  # of the corpus, embedded once more for the model's own widths
MODEL_WIDTHS = (64, 128)


def measure_search(
    script: Script, context: Context, snapshot: Snapshot, *, of_the_corpus: bool
) -> None:
    """Measure the cut of the settings, else half of the width.

    A cut of the corpus has to keep OVERLAP_MIN. What an own collection has to keep is for its
    owner to say, so nothing is judged there.
    """
    wanted = context.tool.plan_rules().dimensions
    with script.step("Parity: search before and after a cut of dimensions") as step:
        least = OVERLAP_MIN if of_the_corpus and wanted is not None else None
        report = context.tool.parity(snapshot, context.runtime, width=wanted, least=least)
        step.lines.append(f"{report.verdict}: {report.why}")
        step.lines += _curve(report)
        if of_the_corpus:
            step.lines += model_curve([chunk.text for chunk in read_chunks(CHUNKS)])
        expect(report.verdict == ("measured" if least is None else "pass"), report.why)


def _curve(report: ParityReport) -> list[str]:
    rules = report.rules
    return [
        f"{rules.dimensions:,} -> {width:,} dimensions: overlap@{rules.top} "
        f"{kept.overlap.in_words()}, same first {kept.same_first.mean:.3f}"
        for width, kept in report.curve.items()
    ]


def model_curve(texts: Sequence[str]) -> list[str]:
    """What smaller widths of the shipped model keep, on these texts; it was trained for them."""
    values = embed_texts(texts, MODEL_DIMENSIONS)
    count = min(QUERIES, len(values))
    rows = np.arange(len(values), dtype=np.int64)
    queries = Queries(values=values[:count], own_rows=rows[:count])
    search = NestedSearch(queries, MODEL_WIDTHS, metric="cosine")
    search.add(rows, values)
    rankings = search.rankings()
    whole = rankings[MODEL_DIMENSIONS]
    assert (whole.rows[:, 0] != NO_ROW).all(), "every text has a neighbour"
    return [
        f"the model's own {MODEL_DIMENSIONS} -> {width} dimensions: overlap@{TOP} "
        f"{measure(whole, rankings[width], top=TOP).overlap.mean():.3f}"
        for width in MODEL_WIDTHS
    ]
