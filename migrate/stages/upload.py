"""Write vectors: intent before each upload, ack after it, and nothing believed until read back.

A batch whose intent has no ack is in doubt: the same bytes are sent again, which an upsert makes
harmless. A batch with an ack is never sent again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from migrate.adapters.run_folder import RunFolder
from migrate.adapters.stop_signs import StopSigns
from migrate.core.batching import Batch, Line, encode_line, split_batches
from migrate.core.digest import digest_vectors
from migrate.core.journal import BatchRecord, Kind, RoundState, Store
from migrate.core.limits import FETCH_IDS_MAX
from migrate.core.manifest import damaged
from migrate.core.model import VectorId
from migrate.ports import Clock, Progress, VectorTarget
from migrate.stages.mapped import MappedRows, read_mapped
from migrate.stages.settle import LastWrite, SettleRules, spread, wait_until_processed


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadReport:
    """What one call of the stage did."""

    vectors: int  # acknowledged in this round, earlier calls included
    uploads: int
    bytes: int
    evidence: str  # what proved that they are processed


def run(
    run_: RunFolder,
    target: VectorTarget,
    *,
    only: frozenset[VectorId] | None,
    stop: StopSigns,
    rules: SettleRules,
    clock: Clock,
    progress: Progress,
) -> UploadReport:
    """Upload the vectors of the open round and wait until they are processed.

    `only` limits a repair round to these ids; None means every vector of the run. Goes on where
    an earlier call ended.
    """
    round_ = run_.state().rounds[-1]
    if not round_.processed:
        total = run_.plan.vectors if only is None else len(only)
        progress.start("uploading", total=total, unit="vectors")
        progress.advance(round_.acknowledged(Store.VECTORS))
        _send_in_doubt(run_, target, round_, only=only, stop=stop, progress=progress)
        _send_rest(run_, target, only, stop, progress)
        evidence = _settle(run_, target, rules, clock=clock, progress=progress)
        run_.journal.append(
            {
                "type": Kind.VECTORS_PROCESSED.value,
                "round": round_.ordinal,
                "evidence": evidence,
            }
        )
    batches = run_.state().rounds[-1].batches[Store.VECTORS]
    return UploadReport(
        vectors=sum(batch.count for batch in batches),
        uploads=len(batches),
        bytes=sum(batch.body_bytes for batch in batches),
        evidence=_evidence(run_, round_.ordinal),
    )


def _evidence(run_: RunFolder, round_ordinal: int) -> str:
    for entry in reversed(run_.journal.entries):
        if entry["type"] == Kind.VECTORS_PROCESSED and entry["round"] == round_ordinal:
            return str(entry["evidence"])
    raise AssertionError("called after the vectors are processed")


def _read_lines(
    run_: RunFolder, only: frozenset[VectorId] | None, first_row: int, end_row: int
) -> Iterator[Line]:
    """The upload lines of some rows, encoded from the snapshot: the same bytes every time."""
    rows_of_run = read_mapped(
        run_.snapshot,
        run_.plan.mapping,
        run_.plan.values,
        run_.excluded_rows(),
        first_row=first_row,
        end_row=end_row,
    )
    for rows in rows_of_run:
        yield from _encode_rows(rows, only)


def _encode_rows(rows: MappedRows, only: frozenset[VectorId] | None) -> Iterator[Line]:
    assert rows.values is not None
    for position, vector_id in enumerate(rows.ids):
        if only is None or vector_id in only:
            text = encode_line(vector_id, rows.values[position], rows.metadata[position])
            yield Line(row=rows.rows[position], vector_id=vector_id, text=text)


def _batches(
    run_: RunFolder,
    only: frozenset[VectorId] | None,
    *,
    first_ordinal: int,
    first_row: int,
    end_row: int,
) -> Iterator[Batch]:
    writes = run_.plan.writes
    return split_batches(
        _read_lines(run_, only, first_row, end_row),
        first_ordinal=first_ordinal,
        vectors_max=writes.vectors_per_upload,
        body_bytes_max=writes.body_bytes,
    )


def _send_in_doubt(
    run_: RunFolder,
    target: VectorTarget,
    round_: RoundState,
    *,
    only: frozenset[VectorId] | None,
    stop: StopSigns,
    progress: Progress,
) -> None:
    """Batches that may or may not have arrived: the same bytes once more."""
    for record in round_.batches[Store.VECTORS]:
        if not record.acknowledged:
            progress.say(f"upload {record.ordinal} is in doubt: sending the same bytes again")
            batch = _encode_again(run_, only, record)
            stop.check()
            _send(run_, target, round_, batch, progress)


def _encode_again(run_: RunFolder, only: frozenset[VectorId] | None, record: BatchRecord) -> Batch:
    batches = list(
        _batches(
            run_,
            only,
            first_ordinal=record.ordinal,
            first_row=record.first,
            end_row=record.end,
        )
    )
    if len(batches) != 1 or batches[0].sha256() != record.sha256:
        raise damaged(
            str(run_.path),
            f"upload {record.ordinal} (rows {record.first} to {record.end - 1}) does not encode to "
            "the bytes of its intent; another version of q2v or of a library wrote it",
        )
    return batches[0]


def _send_rest(
    run_: RunFolder,
    target: VectorTarget,
    only: frozenset[VectorId] | None,
    stop: StopSigns,
    progress: Progress,
) -> None:
    round_ = run_.state().rounds[-1]
    sent = round_.batches[Store.VECTORS]
    batches = _batches(
        run_,
        only,
        first_ordinal=len(sent),
        first_row=sent[-1].end if sent else 0,
        end_row=run_.plan.points,
    )
    for batch in batches:
        stop.check()
        run_.journal.append(
            {
                "type": Kind.INTENT.value,
                "round": round_.ordinal,
                "store": Store.VECTORS.value,
                "batch": batch.ordinal,
                "first": batch.first_row,
                "end": batch.end_row,
                "count": len(batch.vector_ids),
                "bytes": batch.body_bytes,
                "sha256": batch.sha256(),
            }
        )
        _send(run_, target, round_, batch, progress)


def _send(
    run_: RunFolder, target: VectorTarget, round_: RoundState, batch: Batch, progress: Progress
) -> None:
    accepted = target.upsert(batch.lines)
    run_.journal.append(
        {
            "type": Kind.ACK.value,
            "round": round_.ordinal,
            "store": Store.VECTORS.value,
            "batch": batch.ordinal,
            "mutation_id": accepted.mutation_id,
            "server_date": accepted.server_date,
        }
    )
    progress.advance(len(batch.vector_ids))


def _settle(
    run_: RunFolder,
    target: VectorTarget,
    rules: SettleRules,
    *,
    clock: Clock,
    progress: Progress,
) -> str:
    batches = run_.state().rounds[-1].batches[Store.VECTORS]
    if not batches:
        return "no vectors were written"
    last = LastWrite(
        mutation_id=batches[-1].mutation_id,
        server_date=batches[-1].server_date,
        vectors=sum(batch.count for batch in batches),
    )
    expected = _expected(run_, batches)
    return wait_until_processed(target, last, expected, rules, clock=clock, progress=progress)


def _expected(run_: RunFolder, batches: list[BatchRecord]) -> dict[VectorId, bytes | None]:
    """Digests of the last vectors of up to 19 batches, and of the first of the last batch.

    Batches are processed in the order in which they were accepted, so the last batch proves the
    others; one of each is looked at all the same.
    """
    rows = {batches[ordinal].end - 1 for ordinal in spread(len(batches), FETCH_IDS_MAX - 1)}
    rows.add(batches[-1].first)
    expected: dict[VectorId, bytes | None] = {}
    for mapped in read_mapped(
        run_.snapshot, run_.plan.mapping, run_.plan.values, run_.excluded_rows(), only_rows=rows
    ):
        assert mapped.values is not None
        digests = digest_vectors(mapped.ids, mapped.values, mapped.metadata)
        expected.update(zip(mapped.ids, digests, strict=True))
    return expected
