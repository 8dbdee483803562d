"""Upload the vectors of a round, then wait until reading them back proves they are processed.

Each upload has an intent in the journal before it is sent and an ack after the answer. An upload
whose intent has no answer is in doubt: the same bytes are sent again, which is safe for an upsert.
An upload with an ack is never sent again. One that was refused is halved until the vectors at
fault are found (`sending`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from migrate.model.limits import FETCH_IDS_MAX, UPLOADS_IN_FLIGHT_MAX
from migrate.model.records import VectorId
from migrate.model.stamps import iso_stamp
from migrate.plan.request_counts import upload_bytes, upload_requests
from migrate.ports import VectorTarget
from migrate.run.folder import RunFolder
from migrate.run.journal import FULL, BatchRecord, Kind, Store
from migrate.runtime import Runtime
from migrate.upload.sending import Sender
from migrate.upload.settle import LastWrite, SettleRules, spread, wait_until_processed
from migrate.upload.share import Uploader, UploadWorker


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadReport:
    """The result of `upload_vectors`."""

    vectors: int  # acknowledged in this round, earlier calls included
    uploads: int  # acknowledged
    bytes: int  # of the acknowledged uploads
    refused: int  # vectors that the target refused alone, in this round
    evidence: str  # what proved that the vectors are processed


def upload_vectors(
    run: RunFolder,
    target: VectorTarget,
    rules: SettleRules,
    runtime: Runtime,
    *,
    only: frozenset[VectorId] | None,
    workers: Sequence[UploadWorker] = (),
    quarantine_cap: int | None = None,
) -> UploadReport:
    """Upload the vectors of the open round and wait until they are processed.

    `only` limits a repair or a retry to these ids; None means every vector of the run. Without
    `workers` (which only a full round may have) this process sends the uploads one by one.
    `quarantine_cap` is how many points may be left out; None: as the plan says. Resumes where an
    earlier call ended. Raises QuarantineExceededError when the target refuses too many.
    """
    current = run.state().rounds[-1]
    if not current.processed:
        total = run.plan.vectors_to_write if only is None else len(only)
        runtime.progress.start(
            "uploading", total=total, unit="vectors", requests=_requests(run, total)
        )
        done = current.acknowledged(Store.VECTORS) + _refused(run, current.ordinal)
        runtime.progress.advance(done, earlier=True)
        rows = run.written_rows if current.kind == FULL else None
        assert (only is None and rows is None) or not workers, "other processes send all vectors"
        alone = Uploader(
            run.snapshot,
            run.plan,
            target,
            excluded=run.excluded_rows(),
            only=only,
            rows=rows,
        )
        Sender(
            run,
            workers or [alone],
            runtime=runtime,
            quarantine_cap=quarantine_cap,
        ).send()
        evidence = _settle(run, target, rules, runtime)
        run.journal.append(
            {
                "type": Kind.VECTORS_PROCESSED.value,
                "round": current.ordinal,
                "evidence": evidence,
                "at": iso_stamp(runtime.clock.wall_s()),
            }
        )
    batches = _taken(run)
    return UploadReport(
        vectors=sum(batch.count for batch in batches),
        uploads=len(batches),
        bytes=sum(batch.body_bytes for batch in batches),
        refused=_refused(run, current.ordinal),
        evidence=_evidence(run, current.ordinal),
    )


def _requests(run: RunFolder, vectors: int) -> int:
    """Lower bound of the requests; the plan does not record the size of the metadata."""
    writes = run.plan.writes
    return upload_requests(
        vectors,
        upload_bytes(vectors, run.plan.values.dimensions, metadata_bytes=0),
        per_upload=writes.vectors_per_upload,
        body_bytes=writes.body_bytes,
    )


def _taken(run: RunFolder) -> list[BatchRecord]:
    """The acknowledged batches of the open round, in the order of their acks."""
    return run.state().rounds[-1].taken


def _refused(run: RunFolder, round_ordinal: int) -> int:
    return sum(vector.round == round_ordinal for vector in run.state().refused.values())


def _evidence(run: RunFolder, round_ordinal: int) -> str:
    for entry in reversed(run.journal.entries):
        if entry["type"] == Kind.VECTORS_PROCESSED and entry["round"] == round_ordinal:
            return str(entry["evidence"])
    raise AssertionError("called after the vectors are processed")


def _settle(run: RunFolder, target: VectorTarget, rules: SettleRules, runtime: Runtime) -> str:
    batches = _taken(run)
    if not batches:
        return "no vectors were written"
    last = LastWrite(
        mutation_id=batches[-1].mutation_id,
        server_date=batches[-1].server_date,
        vectors=sum(batch.count for batch in batches),
    )
    expected = _expected(run, batches)
    return wait_until_processed(target, last, expected, rules, runtime)


def _expected(run: RunFolder, batches: list[BatchRecord]) -> dict[VectorId, bytes | None]:
    """Digests of the last vectors of up to 19 batches, and of the first of the last batch.

    Batches are processed in the order in which they were accepted, so the last ones prove the
    others: as many as may have been in flight at once. Some of the earlier ones are read as well.
    """
    certain = max(0, len(batches) - UPLOADS_IN_FLIGHT_MAX)
    some = spread(certain, FETCH_IDS_MAX - 1 - UPLOADS_IN_FLIGHT_MAX)
    rows = {batches[at].end - 1 for at in [*some, *range(certain, len(batches))]}
    rows.add(batches[-1].first)
    expected: dict[VectorId, bytes | None] = {}
    for batch in run.targets(["vector_id", "digest"], only=rows, excluded=run.refused_rows()):
        ids = map(VectorId, batch.column("vector_id").to_pylist())
        expected.update(zip(ids, batch.column("digest").to_pylist(), strict=True))
    return expected
