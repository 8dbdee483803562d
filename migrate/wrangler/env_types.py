"""The TypeScript interface of what a Worker finds in `env`."""

from collections.abc import Sequence

from migrate.wrangler.bindings import Bindings

_HEAD = (
    "// What the Worker finds in env. Vectorize and KVNamespace are types of the Workers runtime,\n"
    "// which `wrangler types --include-env=false` writes.\n"
)


def env_interface(bindings: Bindings, secrets: Sequence[str]) -> str:
    """`interface Env`, each secret as a string. `Vectorize` is the type of indexes of version 2."""
    members = dict.fromkeys(bindings.vector_bindings().values(), "Vectorize")
    members |= {bindings.kv_binding: "KVNamespace"}
    members |= {name: "string" for name in secrets if name not in members}
    lines = "".join(f"  {name}: {kind};\n" for name, kind in members.items())
    return f"interface Env {{\n{lines}}}\n"


def env_file(bindings: Bindings, secrets: Sequence[str]) -> bytes:
    """The same as a file of its own."""
    return (_HEAD + env_interface(bindings, secrets)).encode()
