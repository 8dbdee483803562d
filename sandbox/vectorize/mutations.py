"""The write log of one vector index: accepted writes, their commits, and what readers see.

The time of a commit is computed when the write is accepted: jobs run one after another, and each
takes the writes that wait at its start. No background task is needed, and a state is a number: the
highest `seq` whose job has ended.
"""

import hashlib
import sqlite3
import uuid
from dataclasses import dataclass

from sandbox.clock import Clock
from sandbox.faults.random_source import share
from sandbox.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One accepted write."""

    seq: int  # 1-based per vector index; 0 means before the first
    mutation_id: str
    visible_at: float  # the end of its job
    vector_count: int  # vectors in the index after it
    job: int
    job_starts_at: float
    job_updates: int  # writes in its job up to and including this one
    job_vectors: int  # vectors these touch


_FIRST = Mutation(
    seq=0,
    mutation_id="",
    visible_at=0.0,
    vector_count=0,
    job=0,
    job_starts_at=0.0,
    job_updates=0,
    job_vectors=0,
)
_COLUMNS = (
    "seq, mutation_id, visible_at, vector_count, job, job_starts_at, job_updates, job_vectors"
)


class MutationLog:
    """Accepts writes, and returns the last one that readers see."""

    def __init__(self, connection: sqlite3.Connection, profile: Profile, clock: Clock) -> None:
        self._connection = connection
        self._profile = profile
        self._clock = clock

    def next(self, index_id: int, *, touched: int) -> Mutation:
        """The mutation for a write of `touched` vectors, not yet stored.

        `vector_count` is still that of the state before it.
        """
        last = self._last(index_id)
        now = self._clock.now()
        job, updates, vectors = last.job + 1, 1, touched
        starts_at = max(now, last.visible_at)
        if self._has_room(last, now, touched):
            job, starts_at = last.job, last.job_starts_at
            updates, vectors = last.job_updates + 1, last.job_vectors + touched
        return Mutation(
            seq=last.seq + 1,
            mutation_id=_mutation_id("own", self._profile.seed, index_id, last.seq + 1),
            visible_at=starts_at + self._profile.commit_delay_s,
            vector_count=last.vector_count,
            job=job,
            job_starts_at=starts_at,
            job_updates=updates,
            job_vectors=vectors,
        )

    def _has_room(self, last: Mutation, now: float, touched: int) -> bool:
        """Whether the newest job has not begun and has room for another write."""
        return (
            last.job_starts_at > now
            and last.job_updates < self._profile.updates_per_job_max
            and last.job_vectors + touched <= self._profile.vectors_per_job_max
        )

    def append(self, index_id: int, mutation: Mutation, *, vector_count: int) -> None:
        """Store the write, in the caller's transaction, together with its effect."""
        self._connection.execute(
            f"INSERT INTO mutations (index_id, {_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)",  # noqa: S608 - a constant
            (
                index_id,
                mutation.seq,
                mutation.mutation_id,
                mutation.visible_at,
                vector_count,
                mutation.job,
                mutation.job_starts_at,
                mutation.job_updates,
                mutation.job_vectors,
            ),
        )

    def commit_all(self, index_id: int) -> None:
        """Commit every waiting job now."""
        now = self._clock.now()
        self._connection.execute(
            "UPDATE mutations SET visible_at = ?, job_starts_at = min(job_starts_at, ?) "
            "WHERE index_id = ? AND visible_at > ?",
            (now, now, index_id, now),
        )

    def visible(self, index_id: int, *, age_s: float = 0.0) -> Mutation:
        """The last write readers see, or saw `age_s` ago."""
        return self._newest(index_id, "visible_at <= ?", self._clock.now() - age_s)

    def before_last_job(self, index_id: int) -> Mutation:
        """The last write readers saw before the newest commit."""
        return self._newest(index_id, "job < ?", self.visible(index_id).job)

    def watermark(self, index_id: int) -> tuple[str, float] | None:
        """`processedUpToMutation` and its time; at the profile's rate another writer's id."""
        last = self.visible(index_id)
        if last.seq == 0:
            return None
        foreign_at = last.visible_at + self._profile.foreign_watermark_after_s
        luck = share(self._profile.seed, "foreign", index_id, last.seq)
        if luck < self._profile.foreign_watermark_rate and self._clock.now() >= foreign_at:
            foreign_id = _mutation_id("foreign", self._profile.seed, index_id, last.seq)
            return foreign_id, foreign_at
        return last.mutation_id, last.visible_at

    def _last(self, index_id: int) -> Mutation:
        return self._newest(index_id, "seq > ?", 0)

    def _newest(self, index_id: int, condition: str, value: float) -> Mutation:
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM mutations WHERE index_id = ? AND {condition} "  # noqa: S608 - constants
            "ORDER BY seq DESC LIMIT 1",
            (index_id, value),
        ).fetchone()
        if row is None:
            return _FIRST
        return Mutation(**dict(zip(_COLUMNS.split(", "), row, strict=True)))


def _mutation_id(*parts: object) -> str:
    """A UUID in the form of version 4, equal for equal parts; it does not reflect the order."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))
