"""Which vector index holds a file, where a collection is divided over several; pure.

Rendezvous hashing: every index gets a number for the key, and the largest number wins. So the order
of the indexes does not matter, and a further index takes files from each of the others and moves
none between them. `tests/conformance/shards.json` has keys with their indexes, for every language.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from migrate.errors import UsageError

SHARDS_MIN = 2


@lru_cache(maxsize=65_536)  # the chunks of a file are often near each other
def shard_of(key: str, indexes: tuple[str, ...]) -> str:
    """The index that holds the file of this key: that with the largest SHA-256.

    Of the name of the index, a zero byte and the key in UTF-8. `indexes` is not empty.
    """
    encoded = b"\0" + key.encode(errors="surrogatepass")
    return max(indexes, key=lambda name: hashlib.sha256(name.encode() + encoded).digest())


def counter_key_of(counter_key: str, index: str) -> str:
    """The KV key of the counter of one index; `counter_key` is the setting."""
    return f"{counter_key}:{index}"


@dataclass(frozen=True, slots=True)
class Shards:
    """The vector indexes that a collection is divided over."""

    indexes: tuple[str, ...]  # at least two; sorted, so that two lists of one set are equal
    own: str | None = None  # the index of a run; None: of a store, which writes to all

    def __post_init__(self) -> None:
        """Raises UsageError for a list that is none."""
        object.__setattr__(self, "indexes", tuple(sorted(self.indexes)))
        count = len(set(self.indexes))
        if count < max(SHARDS_MIN, len(self.indexes)):
            raise UsageError(
                f"target.shards: found {', '.join(self.indexes) or 'no name'}, expected at least "
                "two vector indexes, each once",
                remedy="correct the list, or remove it where one index takes all vectors",
            )
        if self.own is not None and self.own not in self.indexes:
            raise UsageError(
                f"target.vector_index: found '{self.own}', expected one of target.shards: "
                f"{', '.join(self.indexes)}",
                remedy="correct target.vector_index (--vector-index) or target.shards",
            )

    def index_of(self, key: str) -> str:
        """The index that holds the file of this key."""
        return shard_of(key, self.indexes)

    def other_than_own(self, key: str) -> str | None:
        """The index that holds the file of this key; None: it belongs to the run."""
        index = shard_of(key, self.indexes)
        return None if self.own in {None, index} else index

    def counter_keys(self, own_key: str) -> dict[str, str]:
        """Index -> key of its counter; `own_key` is that of the run's index."""
        assert self.own is not None, "a run has an index"
        base = own_key.removesuffix(counter_key_of("", self.own))
        return {name: counter_key_of(base, name) for name in self.indexes}


def binding_part(index: str) -> str:
    """The name of an index as a part of the name of a variable; names of a list differ in it."""
    return index.replace("-", "_").upper()


def shard_binding(vector_binding: str, index: str) -> str:
    """The name of the binding of one index; `vector_binding` is the setting."""
    return f"{vector_binding}_{binding_part(index)}"
