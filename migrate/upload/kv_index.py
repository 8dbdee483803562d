"""Write the KV index and the counter, as whole values, after the vectors are processed."""

import hashlib
import operator
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from migrate.errors import RemoteUnavailableError
from migrate.mapping.kv_entries import encode_counter_entry, encode_file_entry, split_entries
from migrate.model.canonical import encode_canonical_json
from migrate.model.records import KvEntry
from migrate.model.sealed_json import damaged
from migrate.plan.request_counts import KV_PAIRS_PER_WRITE, kv_write_requests
from migrate.ports import Clock, KvTarget
from migrate.run.files import open_files
from migrate.run.folder import RunFolder
from migrate.run.journal import FULL, RETRY, Kind, RoundState, Store
from migrate.run.pre_image_files import read_kv_pre_images
from migrate.run.refused_vectors import former_of_refused, keys_of_refused
from migrate.runtime import Runtime
from migrate.storage.layout import KV_PRE_IMAGES
from migrate.tables.files import FileTable
from migrate.upload.removal import kept_removals, open_older, removed_keys
from migrate.words import counted
from migrate.workers.repeat import doubling, repeat_until

Item = TypeVar("Item")

KEYS_PER_DELETE = 1_000
BODY_BYTES_MAX = 40_000_000  # as for uploads; the service takes 100 MB
WRITE_ATTEMPTS_MAX = 6
RETRY_WAIT_S = 2.0  # a key takes one write per second


@dataclass(frozen=True, slots=True, kw_only=True)
class KvIndexReport:
    """What the KV namespace holds after the round."""

    entries: int  # files written in this round
    counter: int


def write_kv_index(
    run: RunFolder,
    target: KvTarget,
    runtime: Runtime,
    *,
    only: frozenset[str] | None,
    kept: frozenset[str] = frozenset(),
) -> KvIndexReport:
    """Write the file index of the open round, then the counter.

    `only` limits a repair or a catch-up to these keys and to those of files that have a vector
    refused in this round; None means every file. `kept` keys are not written, which may include
    the counter's. A catch-up removes the `removed_keys`. Resumes where an earlier call ended.
    Raises RemoteUnavailableError when keys keep failing.
    """
    current = run.state().rounds[-1]
    counter = counter_value(run)
    if not current.completed:
        assert current.processed, "a KV entry is only written for vectors that are processed"
        keys = None if only is None else (only | keys_of_refused(run, current.ordinal)) - kept
        gone = removed_keys(run) if current.kind == FULL else []
        counter_key = run.plan.writes.counter_key
        with open_files(run) as table:
            files = table.count_files()
            if keys is not None:
                files = min(files, len(keys - {counter_key, *gone}))
            runtime.progress.start(
                "writing the KV index",
                total=files + len(gone) + (counter_key not in kept),  # the counter comes last
                unit="entries",
                requests=kv_write_requests(files),
            )
            entries = expected_entries(run, table)
            wanted = (entry for entry in entries if keys is None or entry.key in keys)
            batches = split_entries(
                wanted, pairs_max=KV_PAIRS_PER_WRITE, body_bytes_max=BODY_BYTES_MAX
            )
            _write_batches(run, target, current, Store.KV, runtime, batches=batches)
        if gone:
            removed = (
                [KvEntry(key=key, value=b"") for key in gone[at : at + KEYS_PER_DELETE]]
                for at in range(0, len(gone), KEYS_PER_DELETE)
            )
            _write_batches(run, target, current, Store.KV_REMOVED, runtime, batches=removed)
        last = iter([[encode_counter_entry(counter, run.plan.writes)]])
        if counter_key not in kept:
            _write_batches(run, target, current, Store.COUNTER, runtime, batches=last)
    entries_written = run.state().rounds[-1].acknowledged(Store.KV)
    return KvIndexReport(entries=entries_written, counter=counter)


def expected_entries(run: RunFolder, table: FileTable) -> Iterator[KvEntry]:
    """Every entry of the file index, in the order of the file names."""
    expiration = None
    if run.plan.writes.ttl_s is not None:
        base = run.plan.base
        created = datetime.fromisoformat(
            run.plan.created_at if base is None else base.kv_expires_from
        )
        expiration = int(created.timestamp()) + run.plan.writes.ttl_s
    for file in table.files():
        yield encode_file_entry(
            file.file,
            file.vector_ids,
            run.plan.mapping,
            expiration=expiration,
            namespace=file.namespace,
        )


def former_entries(run: RunFolder, keys: AbstractSet[str]) -> dict[str, list[KvEntry]]:
    """What the runs that this one continues from wrote under these keys, or found; newest first."""
    known: dict[str, list[KvEntry]] = {}
    with open_older(run) as older:
        for base in older:
            with open_files(base) as files:
                entries = list(expected_entries(base, files))
            sha256 = base.state().pre_image_parts[KV_PRE_IMAGES][1]
            found = read_kv_pre_images(base.pre_images.file(KV_PRE_IMAGES), sha256)
            entries += [record.former for record in found if record.former is not None]
            for entry in entries:
                if entry.key in keys:
                    known.setdefault(entry.key, []).append(entry)
    return known


def entries_written(run: RunFolder) -> int:
    """Entries of the file index that the run has written, each counted once."""
    state = run.state()
    first, *later = state.rounds
    if not any(current.kind == RETRY for current in later):
        return first.acknowledged(Store.KV)
    # A retry may have added files whose vectors had all been refused before.
    with open_files(run) as table:
        return table.count_files()


def counter_value(run: RunFolder, *, until_round: int | None = None) -> int:
    """Vectors in the index after the run: those of the run, and the others that it held before.

    A vector that a catch-up keeps because another writer changed it is one of the others. A
    repair counts the vectors that other runs of the folder have written since, too. With
    `until_round`: the value at the end of this round.
    """
    state = run.state()
    assert state.pre_images is not None
    rounds = state.rounds if until_round is None else state.rounds[: until_round + 1]
    counted = [one.elsewhere for one in rounds if one.elsewhere is not None]
    found = state.pre_images["vectors_elsewhere"]
    assert isinstance(found, int)
    elsewhere = counted[-1] if counted else found + len(kept_removals(run))
    ours = run.plan.vectors - len(state.refusals(until_round=until_round).rows)
    return ours + elsewhere + len(former_of_refused(run, until_round=until_round))


def _digest(entries: Sequence[KvEntry]) -> str:
    digest = hashlib.sha256()
    for entry in entries:
        line: list[object] = [entry.key, entry.value.decode(), entry.expiration]
        if entry.metadata is not None:
            line.append(entry.metadata)
        digest.update(encode_canonical_json(line) + b"\n")
    return digest.hexdigest()


def _write_batches(
    run: RunFolder,
    target: KvTarget,
    current: RoundState,
    store: Store,
    runtime: Runtime,
    *,
    batches: Iterator[list[KvEntry]],
) -> None:
    """Append an intent, write, append an ack for each batch; skip batches that have an ack."""
    known = current.batches[store]
    first = 0
    for ordinal, entries in enumerate(batches):
        sha256 = _digest(entries)
        if ordinal < len(known) and known[ordinal].sha256 != sha256:
            raise damaged(str(run.folder), f"{store} batch {ordinal} no longer matches its intent")
        acknowledged = ordinal < len(known) and known[ordinal].acknowledged
        if not acknowledged:
            runtime.stop.check()
            if ordinal >= len(known):
                _append_intent(
                    run,
                    current,
                    store,
                    ordinal=ordinal,
                    first=first,
                    entries=entries,
                    sha256=sha256,
                )
            _write(target, entries, runtime, is_removal=store is Store.KV_REMOVED)
            run.journal.append(
                {
                    "type": Kind.ACK.value,
                    "round": current.ordinal,
                    "store": store.value,
                    "batch": ordinal,
                }
            )
        first += len(entries)
        runtime.progress.advance(len(entries), earlier=acknowledged)


def _append_intent(
    run: RunFolder,
    current: RoundState,
    store: Store,
    *,
    ordinal: int,
    first: int,
    entries: Sequence[KvEntry],
    sha256: str,
) -> None:
    run.journal.append(
        {
            "type": Kind.INTENT.value,
            "round": current.ordinal,
            "store": store.value,
            "batch": ordinal,
            "first": first,
            "end": first + len(entries),
            "count": len(entries),
            "bytes": sum(len(entry.value) for entry in entries),
            "sha256": sha256,
        }
    )


def _write(
    target: KvTarget, entries: Sequence[KvEntry], runtime: Runtime, *, is_removal: bool
) -> None:
    """Write, or remove, all entries, then those that did not succeed, until all succeed."""

    def announce(failed: Sequence[KvEntry]) -> None:
        runtime.progress.say(f"{counted(len(failed), 'key')} did not succeed: writing them again")

    def remove(some: Sequence[KvEntry]) -> list[str]:
        return target.delete([entry.key for entry in some])

    failed = send_until_all_succeed(
        remove if is_removal else target.write,
        entries,
        lambda entry: entry.key,
        clock=runtime.clock,
        before_pause=announce,
    )
    if failed:
        raise RemoteUnavailableError(
            f"{counted(len(failed), 'KV key')} failed {WRITE_ATTEMPTS_MAX} times, among them "
            f"'{failed[0].key}'",
            remedy="run the same command again: the same values are written again",
        )


def send_until_all_succeed(
    send: Callable[[Sequence[Item]], Sequence[str]],
    items: Sequence[Item],
    key_of: Callable[[Item], str],
    *,
    clock: Clock,
    before_pause: Callable[[Sequence[Item]], object] = lambda _: None,
) -> Sequence[Item]:
    """Send the items, then those that did not succeed; return those that never succeeded.

    `send` returns the keys that did not succeed. It is called at most WRITE_ATTEMPTS_MAX times.
    """
    wanted = list(items)

    def send_wanted() -> list[Item]:
        nonlocal wanted
        failed = set(send(wanted))
        wanted = [item for item in wanted if key_of(item) in failed]
        return wanted

    if not wanted:
        return []
    return repeat_until(
        send_wanted,
        operator.not_,
        doubling(RETRY_WAIT_S, times=WRITE_ATTEMPTS_MAX - 1),
        clock=clock,
        before_pause=lambda failed, _: before_pause(failed),
    )
