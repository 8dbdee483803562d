"""The entries of a run's journal: their kinds, and the state that they fold to.

The journal only grows. State is `fold_run(entries)` and is never stored anywhere else.
No I/O: `storage/journal_file.py` reads and appends the lines.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from migrate.model.records import VectorId
from migrate.run.pending import PendingRows, UploadSizes
from migrate.run.refusal_evidence import Refusals, RefusedVector
from migrate.storage.journal_lines import Entry, check_format

FULL, REPAIR, RETRY = "full", "repair", "retry"  # kinds of rounds

STATUS_TOO_LARGE = 413  # HTTP status in an entry "refused": the body was too large


class Kind(StrEnum):
    """Entry types of a run's journal, in the order in which a run writes them."""

    RUN_OPENED = "run_opened"  # format, run_id, plan_sha256
    PRE_IMAGE_PART = "pre_image_part"  # name, rows, sha256
    PRE_IMAGES_SEALED = "pre_images_sealed"  # present and elsewhere, of vectors_ and kv_; at
    ROUND_OPENED = "round_opened"  # ordinal, kind: full|repair|retry, report and digest, or rows
    INTENT = "intent"  # round, store, batch, first, end, count, bytes, sha256; vectors also start
    ACK = "ack"  # round, store, batch, mutation_id, server_date
    REFUSED = "refused"  # round, store, batch, status, code, text, and middle or vector_id
    RETRIED = "retried"  # round, rows: refused in this round, now pending again
    VECTORS_PROCESSED = "vectors_processed"  # round, evidence, at
    ROUND_COMPLETED = "round_completed"  # round, at
    WAIVED = "waived"  # reasons
    ROLLBACK_OPENED = "rollback_opened"  # manifest_sha256, continues
    UNDONE = "undone"  # end, seem_foreign, vectors_deleted, vectors_restored, mutation_id, ...
    ROLLBACK_COMPLETED = "rollback_completed"  # conflicts, counter_kept


class Store(StrEnum):
    """What a batch is written to. In each round the batches of each store count from 0."""

    VECTORS = "vectors"
    KV = "kv"
    KV_REMOVED = "kv_removed"  # keys that a catch-up removes
    COUNTER = "counter"
    REMOVED = "removed"  # vectors that a catch-up removes


@dataclass(slots=True, kw_only=True)
class BatchRecord:
    """One batch of the journal; `first` and `end` count rows, or KV entries."""

    ordinal: int
    first: int
    end: int
    count: int
    body_bytes: int
    sha256: str
    acknowledged: bool = False
    refused: bool = False  # the whole batch, without effect; vectors only
    mutation_id: str | None = None  # vectors only
    server_date: str | None = None

    @property
    def in_doubt(self) -> bool:
        """Whether the batch may have been sent and has no known answer."""
        return not self.acknowledged and not self.refused


@dataclass(slots=True, kw_only=True)
class RoundState:
    """One round of writes to the target: the full round first, repairs after it."""

    ordinal: int
    kind: str  # full | repair | retry
    batches: dict[Store, list[BatchRecord]] = field(
        default_factory=lambda: {store: [] for store in Store}
    )
    pending: PendingRows = field(default_factory=PendingRows)
    # Uploads in the order of their acks; not that of the intents when several are in flight.
    taken: list[BatchRecord] = field(default_factory=list)
    refused_at_end: Refusals | None = None  # when the next round was opened; None: no next round
    processed: bool = False
    completed: bool = False
    # Vectors of others that the counter of this round counts; None: as when the run began.
    elsewhere: int | None = None

    def acknowledged(self, store: Store) -> int:
        """Vectors (or KV entries) in acknowledged batches."""
        return sum(batch.count for batch in self.batches[store] if batch.acknowledged)


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """How far the vectors of a run have been undone, in the order of their rows."""

    end: int  # rows before it are undone, but for those that seem to be of another writer
    seem_foreign: frozenset[int]  # these rows: they are compared again before they are a conflict
    vectors_deleted: int  # so far, by all attempts
    vectors_restored: int
    mutation_id: str | None  # of the last write, of whichever attempt; None: nothing was written
    server_date: str | None


@dataclass(slots=True, kw_only=True)
class RunState:
    """The state of a run after the last entry of its journal."""

    run_id: str | None = None
    plan_sha256: str | None = None
    pre_image_parts: dict[str, tuple[int, str]] = field(default_factory=dict)  # name -> rows, sha
    pre_images: Entry | None = None  # the sealing entry
    rounds: list[RoundState] = field(default_factory=list)
    refused: dict[int, RefusedVector] = field(default_factory=dict)  # row -> vector left out
    never_taken: set[int] = field(default_factory=set)  # rows refused that no round has written
    taken_on_retry: int = 0  # vectors refused in the full round and first written in a later one
    upload_sizes: UploadSizes = field(default_factory=UploadSizes)
    waived: set[str] = field(default_factory=set)  # reasons, beyond those of the plan
    rollback_opened: bool = False
    undone: Undone | None = None  # of the rollback that is not complete
    rollback_completed: bool = False
    rollback_conflicts: int = 0
    rollback_counter_kept: bool = False  # one of these is a counter that later writes changed

    @property
    def completed(self) -> bool:
        """Whether the last round has written everything, the counter included."""
        return bool(self.rounds) and self.rounds[-1].completed

    @property
    def phase(self) -> str:
        """The phase of the run as text for the operator."""
        if self.rollback_opened:
            return "rolled back" if self.rollback_completed else "rolling back"
        if self.pre_images is None:
            return "capturing pre-images"
        if self.completed:
            return "completed"
        if self.rounds and self.rounds[-1].processed:
            return "writing the KV index"
        return "uploading"

    def vectors_written(self) -> list[BatchRecord]:
        """Every vector batch that may have had an effect, in doubt or acknowledged.

        A refused batch had none: the service takes an upload as a whole or not at all. An earlier
        attempt of it whose answer was lost had none either: the same bytes are always refused.
        """
        return [
            batch
            for current in self.rounds
            for batch in current.batches[Store.VECTORS]
            if not batch.refused
        ]

    def vectors_refused(self) -> int:
        """Number of vector batches that the target refused while bad lines were searched for."""
        batches = [batch for current in self.rounds for batch in current.batches[Store.VECTORS]]
        return sum(batch.refused for batch in batches)

    def vectors_acknowledged(self) -> int:
        """Number of vectors that the target holds by this run: of the full round and of retries.

        A vector that a repair wrote is counted once; one that was refused in a repair counts as
        refused only.
        """
        if not self.rounds:
            return 0
        later = sum(vector.written for vector in self.refused.values())
        return self.rounds[0].acknowledged(Store.VECTORS) + self.taken_on_retry - later

    def refusals(self, *, until_round: int | None = None) -> Refusals:
        """Vectors refused at the end of this round; None or the last round: refused now."""
        if until_round is not None and until_round < len(self.rounds):
            at_end = self.rounds[until_round].refused_at_end
            if at_end is not None:
                return at_end
        unwritten = frozenset(row for row, vector in self.refused.items() if not vector.written)
        return Refusals(frozenset(self.refused), unwritten)

    def kv_written(self) -> bool:
        """Whether any KV write may have reached the target."""
        return any(
            current.batches[store]
            for current in self.rounds
            for store in (Store.KV, Store.KV_REMOVED, Store.COUNTER)
        )

    def may_have_removed(self) -> bool:
        """Whether a vector that a catch-up removes may be gone."""
        return any(current.batches[Store.REMOVED] for current in self.rounds)


def fold_run(entries: Iterable[Entry]) -> RunState:
    """The state after these entries.

    Raises ValueError for an entry of a type that this version does not know, or that cannot
    follow the entries before it: another version wrote the journal, or there is a bug.
    """
    state = RunState()
    for entry in entries:
        _APPLY[Kind(_text(entry, "type"))](state, entry)
    return state


def _run_opened(state: RunState, entry: Entry) -> None:
    check_format(entry)
    if state.run_id is not None:
        raise ValueError("a run is opened once")
    state.run_id = _text(entry, "run_id")
    state.plan_sha256 = _text(entry, "plan_sha256")


def _pre_image_part(state: RunState, entry: Entry) -> None:
    state.pre_image_parts[_text(entry, "name")] = (_int(entry, "rows"), _text(entry, "sha256"))


def _pre_images_sealed(state: RunState, entry: Entry) -> None:
    state.pre_images = entry


def _round_opened(state: RunState, entry: Entry) -> None:
    if _int(entry, "ordinal") != len(state.rounds):
        raise ValueError("rounds are numbered without gaps")
    if state.rounds and not state.rounds[-1].completed:
        raise ValueError("a round is opened after the one before is completed")
    if state.rounds:
        state.rounds[-1].refused_at_end = state.refusals()
    kind = _text(entry, "kind")
    elsewhere = _int(entry, "elsewhere") if "elsewhere" in entry else None
    state.rounds.append(RoundState(ordinal=len(state.rounds), kind=kind, elsewhere=elsewhere))
    if kind == RETRY:
        for row in _rows(entry):
            _forget_refusal(state, row)


def _retried(state: RunState, entry: Entry) -> None:
    """Make vectors refused in the open round pending again, each as the same upload."""
    current = _round(state, entry)
    if current.processed:
        raise ValueError("vectors are sent again before those of the round are processed")
    alone = {
        batch.first: batch
        for batch in current.batches[Store.VECTORS]
        if batch.refused and batch.count == 1
    }
    for row in _rows(entry):
        if _forget_refusal(state, row).round != current.ordinal:
            raise ValueError(f"the vector of row {row} was refused in an earlier round")
        current.pending.put_back_whole(row, alone[row].end)


def _forget_refusal(state: RunState, row: int) -> RefusedVector:
    refused = state.refused.pop(row, None)
    if refused is None:
        raise ValueError(f"the vector of row {row} is not refused")
    return refused


def _intent(state: RunState, entry: Entry) -> None:
    current, store = _round(state, entry), Store(_text(entry, "store"))
    batches = current.batches[store]
    record = BatchRecord(
        ordinal=_int(entry, "batch"),
        first=_int(entry, "first"),
        end=_int(entry, "end"),
        count=_int(entry, "count"),
        body_bytes=_int(entry, "bytes"),
        sha256=_text(entry, "sha256"),
    )
    if record.ordinal != len(batches):
        raise ValueError("a batch has one intent, and batches are numbered without gaps")
    if store is Store.VECTORS:
        current.pending.take(_int(entry, "start"), record.end)
    batches.append(record)


def _in_doubt(state: RunState, entry: Entry) -> BatchRecord:
    """The batch that an entry with an answer belongs to."""
    batches = _round(state, entry).batches[Store(_text(entry, "store"))]
    ordinal = _int(entry, "batch")
    if not 0 <= ordinal < len(batches) or not batches[ordinal].in_doubt:
        raise ValueError("a batch is acknowledged or refused once, after its intent")
    return batches[ordinal]


def _ack(state: RunState, entry: Entry) -> None:
    batch = _in_doubt(state, entry)
    batch.acknowledged = True
    batch.mutation_id = _optional_text(entry, "mutation_id")
    batch.server_date = _optional_text(entry, "server_date")
    if entry["store"] == Store.VECTORS:
        current = _round(state, entry)
        current.taken.append(batch)
        state.upload_sizes.note_taken(batch.body_bytes)
        # Uploads skip refused rows, also where `first` .. `end` spans them.
        first_time = {
            row
            for row in state.never_taken - state.refused.keys()
            if batch.first <= row < batch.end
        }
        state.never_taken -= first_time
        state.taken_on_retry += len(first_time) if current.ordinal else 0


def _refused(state: RunState, entry: Entry) -> None:
    """Make a refused batch pending again as two halves; leave out a single vector."""
    if entry.get("store") != Store.VECTORS:
        raise ValueError("only uploads of vectors are refused in part")
    batch = _in_doubt(state, entry)
    current = _round(state, entry)
    text = _text(entry, "text")
    batch.refused = True
    too_large = _int(entry, "status") == STATUS_TOO_LARGE
    state.upload_sizes.note_refused(batch.body_bytes, batch.count, too_large=too_large)
    if batch.count > 1:
        current.pending.put_back(batch.first, _int(entry, "middle"), batch.end)
        return
    if batch.first in state.refused:
        raise ValueError(f"the vector of row {batch.first} was refused before")
    if not current.ordinal:
        state.never_taken.add(batch.first)
    state.refused[batch.first] = RefusedVector(
        row=batch.first,
        vector_id=VectorId(_text(entry, "vector_id")),
        round=current.ordinal,
        written=batch.first not in state.never_taken,
        text=text,
    )


def _waived(state: RunState, entry: Entry) -> None:
    reasons = entry.get("reasons")
    if not isinstance(reasons, list) or not all(isinstance(reason, str) for reason in reasons):
        raise ValueError("journal entry without a list of texts 'reasons'")
    state.waived.update(reasons)


def _vectors_processed(state: RunState, entry: Entry) -> None:
    _round(state, entry).processed = True


def _round_completed(state: RunState, entry: Entry) -> None:
    _round(state, entry).completed = True


def _rollback_opened(state: RunState, entry: Entry) -> None:
    state.rollback_opened = True
    state.rollback_completed = False
    if entry.get("continues") is not True:
        state.undone = None


def _undone(state: RunState, entry: Entry) -> None:
    former, end = state.undone, _int(entry, "end")
    if not state.rollback_opened or state.rollback_completed:
        raise ValueError("vectors are undone while a rollback is open")
    if former is not None and end <= former.end:
        raise ValueError("vectors are undone in the order of their rows")
    kept = frozenset[int]() if former is None else former.seem_foreign
    state.undone = Undone(
        end=end,
        seem_foreign=kept.union(_rows(entry, "seem_foreign")),
        vectors_deleted=_int(entry, "vectors_deleted"),
        vectors_restored=_int(entry, "vectors_restored"),
        mutation_id=_optional_text(entry, "mutation_id"),
        server_date=_optional_text(entry, "server_date"),
    )


def _rollback_completed(state: RunState, entry: Entry) -> None:
    state.rollback_completed = True
    state.undone = None
    state.rollback_conflicts = _int(entry, "conflicts")
    state.rollback_counter_kept = entry.get("counter_kept") is True


_APPLY = {
    Kind.RUN_OPENED: _run_opened,
    Kind.PRE_IMAGE_PART: _pre_image_part,
    Kind.PRE_IMAGES_SEALED: _pre_images_sealed,
    Kind.ROUND_OPENED: _round_opened,
    Kind.INTENT: _intent,
    Kind.ACK: _ack,
    Kind.REFUSED: _refused,
    Kind.RETRIED: _retried,
    Kind.VECTORS_PROCESSED: _vectors_processed,
    Kind.ROUND_COMPLETED: _round_completed,
    Kind.WAIVED: _waived,
    Kind.ROLLBACK_OPENED: _rollback_opened,
    Kind.UNDONE: _undone,
    Kind.ROLLBACK_COMPLETED: _rollback_completed,
}


def _round(state: RunState, entry: Entry) -> RoundState:
    ordinal = _int(entry, "round")
    if not state.rounds or ordinal != len(state.rounds) - 1:
        raise ValueError("only the last round is worked on")
    return state.rounds[ordinal]


def _text(entry: Entry, key: str) -> str:
    match entry.get(key):
        case str() as value:
            return value
        case _:
            raise ValueError(f"journal entry without a text {key!r}")


def _optional_text(entry: Entry, key: str) -> str | None:
    return None if entry.get(key) is None else _text(entry, key)


def _rows(entry: Entry, key: str = "rows") -> list[int]:
    match entry.get(key):
        case list() as rows if all(isinstance(row, int) for row in rows):
            return rows
        case _:
            raise ValueError(f"journal entry without a list of integers {key!r}")


def _int(entry: Entry, key: str) -> int:
    match entry.get(key):
        case int() as value if not isinstance(value, bool):
            return value
        case _:
            raise ValueError(f"journal entry without an integer {key!r}")
