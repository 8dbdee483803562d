"""Print RUNBOOK.md: the runbook of any migration, with the figures of the rehearsal.

`.venv/bin/python -m tools.runbook_page > RUNBOOK.md` writes it; a test compares it. Its sections
about commands are in q2v/runbook/reference.md, its steps in q2v/runbook/timeline.py.
"""

import sys

from migrate.plan.estimate import RequestPace, Workload, estimate
from q2v.runbook.figures import Figures, Names, figures_of
from q2v.runbook.page import Evening, page
from q2v.settings import Settings
from rehearsal.corpus.build import CHUNKS_MAX, COLLECTION

FILES = 354  # of the corpus; `make rehearse` prints it
DIMENSIONS, REDUCED = 3_072, 1_536
METADATA_BYTES = 1_300  # per chunk

NAMES = Names(
    collection=COLLECTION,
    source="an embedded store",
    vector_index="rehearsal",
    kv_namespace=None,
    account=None,
    folder="snapshots",
)


def rehearsed_figures() -> Figures:
    """The figures of the rehearsal's corpus, with the settings' defaults."""
    limits = Settings().limits
    load = Workload(
        vectors=CHUNKS_MAX,
        files=FILES,
        dimensions=REDUCED,
        metadata_bytes=METADATA_BYTES * CHUNKS_MAX,
        vectors_per_upload=limits.vectors_per_upload,
        body_bytes=limits.body_bytes,
    )
    pace = RequestPace(
        requests_per_5min=limits.requests_per_5min,
        uploads_in_flight=limits.uploads_in_flight,
        reads_in_flight=limits.reads_in_flight,
    )
    return figures_of(
        estimate(load, pace),
        points=CHUNKS_MAX,
        quarantined=0,
        source_dimensions=DIMENSIONS,
        dimensions=REDUCED,
        basis="the corpus of `make rehearse`, the budget of the service, 0.3 s a request "
        "(assumed), 100 Mbit/s, and 2 min until the index shows what was written; `q2v runbook` "
        "writes this page with the figures of your collection",
    )


def main() -> str:
    """The page."""
    return page("Runbook", NAMES, rehearsed_figures(), Evening(), str)


if __name__ == "__main__":
    sys.stdout.write(main())
