"""What a target holds, as far as one page of each store shows it."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from migrate.mapping.kv_entries import index_of_key
from migrate.mapping.rules import MappingRules, WriteRules
from migrate.model.canonical import encode_canonical_json
from migrate.model.limits import KV_LIST_KEYS_MAX, LIST_IDS_MAX
from migrate.ports import KvTarget, VectorTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """The first page of the ids and of the keys; a full page stands for "as many or more"."""

    vectors: int = 0
    vectors_sha256: str | None = None  # over the ids; None: none, or a full page
    keys: int = 0
    keys_sha256: str | None = None

    @property
    def is_part(self) -> bool:
        """Whether a page is full, so that only its number can be compared later."""
        return self.vectors >= LIST_IDS_MAX or self.keys >= KV_LIST_KEYS_MAX


def read_vectors(target: VectorTarget) -> tuple[int, str | None]:
    """Number and digest of the first page of the ids; the index is there."""
    return _digest(next(iter(target.list_ids()), []), LIST_IDS_MAX)


def read_keys(target: KvTarget, is_own: Callable[[str], bool]) -> tuple[int, str | None]:
    """Number and digest of the keys on the first page, without those of other vector indexes.

    A full page of which some are own counts as full.
    """
    listed = [entry.key for entry in islice(target.list_keys(""), KV_LIST_KEYS_MAX)]
    keys = list(filter(is_own, listed))
    return _digest(listed if keys and len(listed) == KV_LIST_KEYS_MAX else keys, KV_LIST_KEYS_MAX)


def read_holdings(
    vectors: VectorTarget, kv: KvTarget, mapping: MappingRules, writes: WriteRules
) -> Holdings:
    """Both; the vector index is there. One request each."""
    vector_count, vectors_sha256 = read_vectors(vectors)
    key_count, keys_sha256 = read_keys(kv, lambda key: index_of_key(key, mapping, writes) is None)
    return Holdings(
        vectors=vector_count, vectors_sha256=vectors_sha256, keys=key_count, keys_sha256=keys_sha256
    )


def _digest(names: Sequence[str], page_max: int) -> tuple[int, str | None]:
    """A listing has no order; a full page may be another one the next time."""
    if not names or len(names) >= page_max:
        return len(names), None
    content = encode_canonical_json(sorted(names))
    return len(names), hashlib.sha256(content).hexdigest()
