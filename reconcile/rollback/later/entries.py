"""Find the KV entries of files that others added, changed or removed since the run."""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from migrate.errors import IndeterminateError
from migrate.mapping.kv_keys import group_of_key
from migrate.model.canonical import decode_json
from migrate.model.records import VectorId
from migrate.plan.request_counts import KV_KEYS_PER_UNDO, kv_compare_requests
from migrate.ports import KvTarget
from migrate.run.folder import RunFolder
from migrate.run.pre_image_files import KvPreImage
from migrate.runtime import Runtime
from migrate.upload.listing import list_own_keys
from migrate.words import subject
from migrate.workers.repeat import doubling, refine_until
from reconcile.rollback.later.find import is_untouched
from reconcile.rollback.later.known import KnownEntries
from reconcile.rollback.manifest import read_foreign_keys

PASSES_MAX = 3

# Of a key: its entry as it was read last. `ours`: a run wrote the key. No `former`: it is gone.
LaterEntry = KvPreImage


def find_later_entries(
    chain: Sequence[RunFolder],
    target: KvTarget,
    runtime: Runtime,
    *,
    settle_s: float,
    expects: Callable[[Sequence[LaterEntry]], bool] = operator.not_,
) -> tuple[LaterEntry, ...]:
    """The entries of files that are neither those of these runs nor those before them, by key.

    The counter and keys that existed before and that no run wrote are left out. Reads may be
    stale: what is found and not expected (by default, anything) is read again after `settle_s`
    seconds, doubling, until two passes agree or three have been made. Raises IndeterminateError
    for a listed key that cannot be read.
    """
    known = KnownEntries(chain)
    found = refine_until(
        lambda: _find_once(chain, target, known, runtime),
        lambda _: _find_once(chain, target, known, runtime),
        lambda before, found: not found.unreadable and (expects(found.entries) or found == before),
        doubling(settle_s, times=PASSES_MAX - 1),
        clock=runtime.clock,
        before_pause=lambda found, pause_s: runtime.progress.say(
            f"{subject(len(found.entries), 'KV key', 'is')} not as the run left them: reading "
            "again in "
            f"{pause_s:.0f} s"
        ),
    )
    if found.unreadable:
        raise IndeterminateError(
            f"KV key '{found.unreadable[0]}' is listed but cannot be read",
            remedy="wait a minute (KV is eventually consistent), then run the command again",
        )
    return found.entries


@dataclass(frozen=True, slots=True)
class _Found:
    """What one pass has found."""

    entries: tuple[LaterEntry, ...]
    unreadable: tuple[str, ...]  # listed, and absent when they were read: perhaps just removed


def _find_once(
    chain: Sequence[RunFolder], target: KvTarget, known: KnownEntries, runtime: Runtime
) -> _Found:
    newest, oldest = chain[0], chain[-1]
    skipped = read_foreign_keys(oldest) | {newest.plan.writes.counter_key}
    listed = {one.key: one.expiration for one in list_own_keys(target, newest.plan, runtime)}
    found: list[LaterEntry] = []
    unreadable: list[str] = []
    wanted = sorted(listed.keys() - skipped)
    requests = kv_compare_requests(len(wanted))
    runtime.progress.start(
        "reading the KV index", total=len(wanted), unit="files", requests=requests
    )
    for keys in _chunks(wanted):
        values = target.read(keys)
        for key in keys:
            if key not in values:
                unreadable.append(key)
                continue
            entry = replace(values[key], expiration=listed[key])
            if not known.has(entry):
                found.append(LaterEntry(key=key, ours=known.names(key), former=entry))
        runtime.progress.advance(len(keys))
    if is_untouched(chain):
        gone = known.written - listed.keys()
        found += [LaterEntry(key=key, ours=True, former=None) for key in gone]
    return _Found(tuple(sorted(found, key=lambda one: one.key)), tuple(unreadable))


def _chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    pending = iter(keys)
    while chunk := list(islice(pending, KV_KEYS_PER_UNDO)):
        yield chunk


def files_by_vector(run: RunFolder, entries: Iterable[LaterEntry]) -> dict[VectorId, str]:
    """Vector id -> file, by the entries that name the vector."""
    mapping = run.plan.mapping
    found: dict[VectorId, str] = {}
    for entry in entries:
        file = group_of_key(mapping.key_template, mapping.group_key, entry.key)
        if entry.former is None or file is None:
            continue
        found.update((VectorId(one), file) for one in _ids(entry.former.value))
    return found


def _ids(value: bytes) -> list[str]:
    """The vector ids that a value lists; none when it is no list of texts."""
    try:
        ids = decode_json(value)
    except ValueError:
        return []
    return [one for one in ids if isinstance(one, str)] if isinstance(ids, list) else []
