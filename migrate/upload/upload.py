"""Write vectors: intent before each upload, ack after it, and nothing believed until read back.

A batch whose intent has no answer is in doubt: the same bytes are sent again, which an upsert
makes harmless. A batch with an ack is never sent again; one that was refused is searched for the
vectors at fault (`sending`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from migrate.model.limits import FETCH_IDS_MAX, UPLOADS_IN_FLIGHT_MAX
from migrate.model.records import VectorId
from migrate.plan.request_counts import upload_bytes, upload_requests
from migrate.ports import VectorTarget
from migrate.run.folder import RunFolder
from migrate.run.journal import BatchRecord, Kind, Store
from migrate.runtime import Runtime
from migrate.upload.sending import Sender
from migrate.upload.settle import LastWrite, SettleRules, spread, wait_until_processed
from migrate.upload.share import Uploader, UploadWorker


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadReport:
    """What one call of the stage did."""

    vectors: int  # acknowledged in this round, earlier calls included
    uploads: int  # acknowledged
    bytes: int  # of those
    refused: int  # vectors that the target refused alone, in this round
    evidence: str  # what proved that they are processed


def upload_vectors(
    run_: RunFolder,
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
    `workers` (a full round only) the uploads leave one by one from here. `quarantine_cap` is how
    many points may be left out, None as the plan says. Goes on where an earlier call ended.
    Raises QuarantineExceededError when the target refuses too many.
    """
    round_ = run_.state().rounds[-1]
    if not round_.processed:
        total = run_.plan.vectors if only is None else len(only)
        runtime.progress.start(
            "uploading", total=total, unit="vectors", requests=_requests(run_, total)
        )
        done = round_.acknowledged(Store.VECTORS) + _refused(run_, round_.ordinal)
        runtime.progress.advance(done, earlier=True)
        assert only is None or not workers, "workers of other processes send all vectors"
        alone = Uploader(run_.snapshot, run_.plan, target, excluded=run_.excluded_rows(), only=only)
        Sender(
            run_,
            workers or [alone],
            runtime=runtime,
            quarantine_cap=quarantine_cap,
        ).send()
        evidence = _settle(run_, target, rules, runtime)
        run_.journal.append(
            {
                "type": Kind.VECTORS_PROCESSED.value,
                "round": round_.ordinal,
                "evidence": evidence,
            }
        )
    batches = _taken(run_)
    return UploadReport(
        vectors=sum(batch.count for batch in batches),
        uploads=len(batches),
        bytes=sum(batch.body_bytes for batch in batches),
        refused=_refused(run_, round_.ordinal),
        evidence=_evidence(run_, round_.ordinal),
    )


def _requests(run_: RunFolder, vectors: int) -> int:
    """At least so many; the plan does not keep how much metadata there is."""
    writes = run_.plan.writes
    return upload_requests(
        vectors,
        upload_bytes(vectors, run_.plan.values.dimensions, metadata_bytes=0),
        per_upload=writes.vectors_per_upload,
        body_bytes=writes.body_bytes,
    )


def _taken(run_: RunFolder) -> list[BatchRecord]:
    """The acknowledged batches of the open round, in the order of their acks."""
    return run_.state().rounds[-1].taken


def _refused(run_: RunFolder, round_ordinal: int) -> int:
    return sum(one.round == round_ordinal for one in run_.state().refused.values())


def _evidence(run_: RunFolder, round_ordinal: int) -> str:
    for entry in reversed(run_.journal.entries):
        if entry["type"] == Kind.VECTORS_PROCESSED and entry["round"] == round_ordinal:
            return str(entry["evidence"])
    raise AssertionError("called after the vectors are processed")


def _settle(run_: RunFolder, target: VectorTarget, rules: SettleRules, runtime: Runtime) -> str:
    batches = _taken(run_)
    if not batches:
        return "no vectors were written"
    last = LastWrite(
        mutation_id=batches[-1].mutation_id,
        server_date=batches[-1].server_date,
        vectors=sum(batch.count for batch in batches),
    )
    expected = _expected(run_, batches)
    return wait_until_processed(target, last, expected, rules, runtime)


def _expected(run_: RunFolder, batches: list[BatchRecord]) -> dict[VectorId, bytes | None]:
    """Digests of the last vectors of up to 19 batches, and of the first of the last batch.

    Batches are processed in the order in which they were accepted, so the last ones prove the
    others: as many as may have been in flight at once. Some of the others are looked at as well.
    """
    certain = max(0, len(batches) - UPLOADS_IN_FLIGHT_MAX)
    some = spread(certain, FETCH_IDS_MAX - 1 - UPLOADS_IN_FLIGHT_MAX)
    rows = {batches[at].end - 1 for at in [*some, *range(certain, len(batches))]}
    rows.add(batches[-1].first)
    expected: dict[VectorId, bytes | None] = {}
    for batch in run_.targets(["vector_id", "digest"], only=rows, excluded=run_.refused_rows()):
        ids = map(VectorId, batch.column("vector_id").to_pylist())
        expected.update(zip(ids, batch.column("digest").to_pylist(), strict=True))
    return expected
