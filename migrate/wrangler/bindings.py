"""The bindings of a Worker to the vector indexes and the KV namespace, as wrangler names them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from migrate.mapping.shards import shard_binding

VECTORIZE, KV_NAMESPACES = "vectorize", "kv_namespaces"  # lists of wrangler's configuration
VECTOR_BINDING, KV_BINDING = "VECTORIZE_INDEX", "FILE_VECTOR_INDEX"  # the default names
Members = dict[str, str]  # of one entry of such a list, in the order in which they are written


def binding_of(vector_binding: str, index: str, *, of_several: bool) -> str:
    """The binding of an index; where a collection has several, each has one of its own."""
    return shard_binding(vector_binding, index) if of_several else vector_binding


@dataclass(frozen=True, slots=True, kw_only=True)
class Bindings:
    """Which indexes and which namespace a Worker sees, and under which names."""

    vector_binding: str = VECTOR_BINDING
    kv_binding: str = KV_BINDING
    vector_index: str
    shards: tuple[str, ...] = ()  # all indexes that the files are divided over; () = vector_index
    kv_namespace_id: str
    kv_preview_id: str | None = None  # for previews; None: without one

    def vector_bindings(self) -> dict[str, str]:
        """Each index and the name of its binding."""
        return {
            index: binding_of(self.vector_binding, index, of_several=bool(self.shards))
            for index in self.shards or (self.vector_index,)
        }

    def entries(self) -> Iterator[tuple[str, Members]]:
        """The list and the members of each entry, `binding` first."""
        for index, name in self.vector_bindings().items():
            yield VECTORIZE, {"binding": name, "index_name": index}
        preview = {} if self.kv_preview_id is None else {"preview_id": self.kv_preview_id}
        members = {"binding": self.kv_binding, "id": self.kv_namespace_id, **preview}
        yield KV_NAMESPACES, members

    def lists(self) -> dict[str, list[Members]]:
        """Each list with its entries."""
        found: dict[str, list[Members]] = {}
        for name, members in self.entries():
            found.setdefault(name, []).append(members)
        return found

    def names(self) -> frozenset[str]:
        """The names of all bindings."""
        return frozenset(members["binding"] for _, members in self.entries())

    def toml(self) -> str:
        """As the lines of a wrangler.toml."""
        entries = (
            f"[[{name}]]\n"
            + "".join(f"{key} = {json.dumps(value)}\n" for key, value in members.items())
            for name, members in self.entries()
        )
        return "\n".join(entries)

    def jsonc(self) -> str:
        """As a wrangler.jsonc that holds nothing else."""
        return json.dumps(self.lists(), indent=2)
