"""The KV index of a file store: the ids of each file, and the counter, as whole values.

KV has no lock and no increment, and a read may show what was there a minute ago. So an entry that
depends on what is there is read once it is old enough, or taken from what this process has
written itself, and is then written as a whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import orjson

from migrate.errors import PreconditionError, RemoteUnavailableError, UsageError
from migrate.file_stores.rules import FileStoreRules
from migrate.mapping.kv_entries import (
    encode_counter_entry,
    encode_file_entry,
    encode_file_value,
    read_entry_namespace,
    split_entries,
)
from migrate.mapping.payload import encode_kv_key
from migrate.model.limits import KV_KEY_WRITE_GAP_S, KV_VALUE_BYTES_MAX
from migrate.model.records import KvEntry, VectorId
from migrate.plan.request_counts import KV_PAIRS_PER_WRITE
from migrate.ports import KvTarget
from migrate.runtime import Runtime
from migrate.upload.kv_index import BODY_BYTES_MAX, KEYS_PER_DELETE, send_until_all_succeed
from migrate.words import counted, subject

# For so long KV may show what was there before a write: a minute or more, by its documentation.
OWN_WRITES_S = 180.0


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What the entry of one file says."""

    ids: tuple[VectorId, ...]  # of its vectors, in chunk order; empty: there is no entry
    namespace: str | None = None  # of its vectors; None: of none, or not known


NO_ENTRY = FileEntry(())
FileEntries = Mapping[str, FileEntry]  # by file


@dataclass(frozen=True, slots=True)
class _Own:
    """What this process wrote last for a file."""

    entry: FileEntry
    at_s: float  # monotonic


class FileIndex:
    """The KV entries of files, and the counter, of one writer."""

    def __init__(
        self, kv: KvTarget, rules: FileStoreRules, runtime: Runtime, *, settle_s: float
    ) -> None:
        """`settle_s`: how old the index has to be before it believes what KV shows for a write."""
        self._kv = kv
        self._rules = rules
        self._runtime = runtime
        self._settle_s = settle_s
        self._opened_s = runtime.clock.monotonic_s()
        self._own: dict[str, _Own] = {}  # by key
        self._written_s: dict[str, float] = {}  # key -> when it was written last, monotonic

    def read(self, file_ids: Iterable[str]) -> dict[str, FileEntry]:
        """The entry of each file as KV shows it now.

        What this process wrote lately counts instead of what KV shows. Ids of other files are left
        out, so that they are not removed with this one. Raises PreconditionError
        for an entry in another form.
        """
        self._forget_old()
        key_of = {file_id: self._key(file_id) for file_id in file_ids}
        shown = self._kv.read([key for key in key_of.values() if key not in self._own])
        found: dict[str, FileEntry] = {}
        for file_id, key in key_of.items():
            own = self._own.get(key)
            if own is not None:
                found[file_id] = own.entry
            elif key in shown:
                ids = _read_ids(shown[key])
                found[file_id] = FileEntry(
                    tuple(one for one in ids if not self._is_elsewhere(one, file_id)),
                    read_entry_namespace(shown[key]),
                )
            else:
                found[file_id] = NO_ENTRY
        return found

    def read_settled(self, file_ids: Sequence[str]) -> dict[str, FileEntry]:
        """As `read`, but what an earlier process wrote is shown: a young process waits for it."""
        self._forget_old()
        if any(self._key(file_id) not in self._own for file_id in file_ids):
            clock = self._runtime.clock
            young_s = self._opened_s + self._settle_s - clock.monotonic_s()
            if young_s > 0:
                self._runtime.progress.say(
                    f"waiting {young_s:.0f} s: KV may not show yet what an earlier process wrote"
                )
                clock.wait(young_s)
        return self.read(file_ids)

    def check(self, entries: FileEntries) -> None:
        """Raises UsageError for a file with more ids than a KV value holds."""
        for file_id, entry in entries.items():
            size = len(encode_file_value(entry.ids))
            if size > KV_VALUE_BYTES_MAX:
                raise UsageError(
                    f"file {file_id!r} would have {counted(len(entry.ids), 'vector')}: their "
                    "ids make "
                    f"{size} B, and a KV value takes {KV_VALUE_BYTES_MAX}",
                    remedy="split the file, or make larger chunks of it; nothing was sent",
                )

    def write(self, entries: FileEntries) -> None:
        """Write each file's entry as a whole, with a new expiry if entries expire.

        Removes the key of a file without ids. Raises RemoteUnavailableError when keys keep failing.
        """
        expiration = self._expiration()
        kept = [
            encode_file_entry(
                file_id,
                entry.ids,
                self._rules.mapping,
                expiration=expiration,
                namespace=entry.namespace,
                index=self._rules.index,
            )
            for file_id, entry in entries.items()
            if entry.ids
        ]
        gone = [self._key(file_id) for file_id, entry in entries.items() if not entry.ids]
        # Noted before they are sent: the vectors are as these entries say, whatever the answer.
        self._note(entries)
        for some in split_entries(
            kept, pairs_max=KV_PAIRS_PER_WRITE, body_bytes_max=BODY_BYTES_MAX
        ):
            self._write(some)
        for first in range(0, len(gone), KEYS_PER_DELETE):
            self._remove(gone[first : first + KEYS_PER_DELETE])
        self._note(entries)

    def write_counter(self, vectors: int) -> None:
        """Write the counter: an absolute number, which never expires."""
        self._write([encode_counter_entry(vectors, self._rules.writes)])

    def _key(self, file_id: str) -> str:
        return encode_kv_key(file_id, self._rules.mapping)

    def _is_elsewhere(self, vector_id: VectorId, file_id: str) -> bool:
        """Whether an id belongs to another file."""
        chunk = self._rules.parse_vector_id(vector_id)
        return chunk is not None and chunk.file_id != file_id

    def _expiration(self) -> int | None:
        """The moment at which an entry written now expires, by the service's clock."""
        ttl_s = self._rules.writes.ttl_s
        if ttl_s is None:
            return None
        now_s = self._kv.service_wall_s()
        return ceil(self._runtime.clock.wall_s() if now_s is None else now_s) + ttl_s

    def _note(self, entries: FileEntries) -> None:
        now_s = self._runtime.clock.monotonic_s()
        for file_id, entry in entries.items():
            self._own[self._key(file_id)] = _Own(entry, now_s)

    def _forget_old(self) -> None:
        """Forget what KV shows by now."""
        oldest_s = self._runtime.clock.monotonic_s() - max(self._settle_s, OWN_WRITES_S)
        self._own = {key: own for key, own in self._own.items() if own.at_s > oldest_s}

    def _write(self, entries: Sequence[KvEntry]) -> None:
        self._wait_for_gap([entry.key for entry in entries])
        failed = send_until_all_succeed(
            self._kv.write, entries, lambda entry: entry.key, clock=self._runtime.clock
        )
        self._check_sent([entry.key for entry in entries], [entry.key for entry in failed])

    def _remove(self, keys: Sequence[str]) -> None:
        self._wait_for_gap(keys)
        failed = send_until_all_succeed(
            self._kv.delete, keys, lambda key: key, clock=self._runtime.clock
        )
        self._check_sent(keys, failed)

    def _wait_for_gap(self, keys: Sequence[str]) -> None:
        """Wait until each key may be written: KV refuses a second write within a second."""
        now_s = self._runtime.clock.monotonic_s()
        self._written_s = {
            key: at_s for key, at_s in self._written_s.items() if at_s > now_s - KV_KEY_WRITE_GAP_S
        }
        last_s = max((self._written_s[key] for key in keys if key in self._written_s), default=None)
        if last_s is not None:
            self._runtime.clock.wait(last_s + KV_KEY_WRITE_GAP_S - now_s)

    def _check_sent(self, keys: Sequence[str], failed: Sequence[str]) -> None:
        self._written_s |= dict.fromkeys(keys, self._runtime.clock.monotonic_s())
        if failed:
            raise RemoteUnavailableError(
                f"{subject(len(failed), 'KV key', 'keeps')} failing, among them '{failed[0]}'",
                remedy="make the same call again: it writes the same values",
            )


def _read_ids(entry: KvEntry) -> list[VectorId]:
    try:
        found = orjson.loads(entry.value)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise PreconditionError(
            f"KV entry '{entry.key}' is no JSON list of vector ids: another program wrote it",
            remedy="find out which program wrote it; remove the entry, and write the file again",
        )
    return list(dict.fromkeys(map(VectorId, found)))
