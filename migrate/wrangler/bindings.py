"""The bindings of a Worker to the vector index and the KV namespace, as wrangler names them."""

import json
from dataclasses import dataclass

from migrate.mapping.shards import binding_part

VECTORIZE, KV_NAMESPACES = "vectorize", "kv_namespaces"  # lists of wrangler's configuration
VECTOR_BINDING, KV_BINDING = "VECTORIZE_INDEX", "FILE_VECTOR_INDEX"  # the default names
Members = dict[str, str]  # of one entry of such a list, in the order in which they are written


def binding_of(vector_binding: str, index: str, *, of_several: bool) -> str:
    """The binding of an index; where a collection has several, each has one of its own."""
    return f"{vector_binding}_{binding_part(index)}" if of_several else vector_binding


@dataclass(frozen=True, slots=True, kw_only=True)
class Bindings:
    """Which index and namespace a Worker sees, and under which names."""

    vector_binding: str = VECTOR_BINDING
    kv_binding: str = KV_BINDING
    vector_index: str
    kv_namespace_id: str
    kv_preview_id: str | None = None  # for previews; None: without one

    def entries(self) -> dict[str, Members]:
        """The entry of each list: its members, `binding` first."""
        preview = {} if self.kv_preview_id is None else {"preview_id": self.kv_preview_id}
        return {
            VECTORIZE: {"binding": self.vector_binding, "index_name": self.vector_index},
            KV_NAMESPACES: {"binding": self.kv_binding, "id": self.kv_namespace_id, **preview},
        }

    def toml(self) -> str:
        """As the lines of a wrangler.toml."""
        entries = (
            f"[[{name}]]\n"
            + "".join(f"{key} = {json.dumps(value)}\n" for key, value in members.items())
            for name, members in self.entries().items()
        )
        return "\n".join(entries)

    def jsonc(self) -> str:
        """As a wrangler.jsonc that holds nothing else."""
        return json.dumps({name: [members] for name, members in self.entries().items()}, indent=2)
