"""Wait until accepted vectors are processed; the proof is that they read back as written.

The service's watermark may skip our mutation or show one of another writer, and its vector count
lags. The watermark only decides when a read is worth a request. The vectors count as processed
when some of them read back as written twice in a row (docs/services.md, Mutations).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from migrate.errors import IndeterminateError
from migrate.model.digest import digest_vector
from migrate.model.limits import FETCH_IDS_MAX
from migrate.model.records import IndexProgress, Vector, VectorId
from migrate.model.stamps import parse_http_date
from migrate.ports import VectorTarget
from migrate.runtime import Runtime
from migrate.words import counted
from migrate.workers.repeat import polling, repeat_until

SERVER_TIME_MARGIN_S = 30.0
AGREEING_READS = 2
# Every n-th poll reads back although the watermark has not passed our mutation: it may never do
# so.
READ_BACK_EVERY_POLLS = 3
SECONDS_PER_VECTOR = 60 / 100_000  # added to the time limit for each vector written


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleRules:
    """The time limit and the pause between two polls, in seconds."""

    timeout_s: float
    poll_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWrite:
    """The write that has to be processed; all earlier ones are processed before it."""

    mutation_id: str | None
    server_date: str | None  # HTTP date of its answer
    vectors: int  # written in all, for the time limit


def wait_until_processed(
    target: VectorTarget,
    last: LastWrite,
    expected: Mapping[VectorId, bytes | None],
    rules: SettleRules,
    runtime: Runtime,
) -> str:
    """Return, as text for the report, what proved that the writes are processed.

    `expected` holds at most 20 ids with the digest each must read back as, None for absent.
    Raises IndeterminateError after the time limit: the write has neither succeeded nor failed.
    """
    assert 0 < len(expected) <= FETCH_IDS_MAX
    limit_s = rules.timeout_s + last.vectors * SECONDS_PER_VECTOR
    agreeing = polls = 0
    passed = False
    runtime.progress.start("waiting until processed", total=None, unit="polls")

    def poll() -> int:
        """Ask once; return how many reads in a row have agreed."""
        nonlocal agreeing, passed, polls
        polls += 1
        passed = _watermark_passed(target.read_progress(), last)
        if passed or polls % READ_BACK_EVERY_POLLS == 0:
            agreeing = agreeing + 1 if _reads_back(target, expected) else 0
        return agreeing

    deadline_s = runtime.clock.monotonic_s() + limit_s
    repeat_until(
        poll,
        lambda agreeing: agreeing >= AGREEING_READS,
        polling(rules.poll_s, deadline_s=deadline_s, clock=runtime.clock),
        clock=runtime.clock,
        before_pause=lambda *_: runtime.progress.advance(1),
    )
    if agreeing >= AGREEING_READS:
        hint = "the watermark passed and" if passed else "the watermark did not advance, but"
        return (
            f"{hint} {counted(len(expected), 'vector')} read back as written, "
            f"{counted(agreeing, 'time')} in a row"
        )
    raise IndeterminateError(
        f"the last write (mutation {last.mutation_id}) is not visible after {limit_s:.0f} s; "
        "it may still be processed",
        remedy="run the same command again: it continues to wait and sends nothing twice",
    )


def _watermark_passed(progress: IndexProgress, last: LastWrite) -> bool:
    if progress.processed_mutation is not None and progress.processed_mutation == last.mutation_id:
        return True
    processed = _parse_rfc3339(progress.processed_at)
    accepted_s = parse_http_date(last.server_date)
    if processed is None or accepted_s is None:
        return False
    return processed.timestamp() > accepted_s + SERVER_TIME_MARGIN_S


def _parse_rfc3339(text: str | None) -> datetime | None:
    """Parse a time without its fraction: the service sends nine digits, datetime reads six."""
    if text is None:
        return None
    head, _, tail = text.replace("Z", "+00:00").partition(".")
    zone = tail[tail.find("+") :] if "+" in tail else ""
    try:
        parsed = datetime.fromisoformat(head + zone)
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None else None


def _reads_back(target: VectorTarget, expected: Mapping[VectorId, bytes | None]) -> bool:
    found = target.fetch(list(expected))
    return all(_same(found.get(vector_id), digest) for vector_id, digest in expected.items())


def _same(vector: Vector | None, digest: bytes | None) -> bool:
    if vector is None or digest is None:
        return vector is None and digest is None
    return digest_vector(vector) == digest


def spread(count: int, chosen_max: int) -> Sequence[int]:
    """At most `chosen_max` ordinals out of 0 .. count - 1, evenly spread, the ends included."""
    if count <= chosen_max:
        return range(count)
    return sorted({int(x) for x in np.linspace(0, count - 1, chosen_max).round()})
