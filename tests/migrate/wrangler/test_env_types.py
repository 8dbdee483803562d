"""The interface of what a Worker finds in `env`."""

from migrate.wrangler.bindings import Bindings
from migrate.wrangler.env_types import env_file, env_interface

BINDINGS = Bindings(vector_index="chunks", kv_namespace_id="id-1", kv_binding="FILES")


def test_bindings_have_the_types_of_the_runtime_and_secrets_are_texts() -> None:
    assert env_interface(BINDINGS, ("OPENAI_API_KEY",)) == (
        "interface Env {\n"
        "  VECTORIZE_INDEX: Vectorize;\n"
        "  FILES: KVNamespace;\n"
        "  OPENAI_API_KEY: string;\n"
        "}\n"
    )


def test_the_file_says_where_the_types_come_from() -> None:
    text = env_file(BINDINGS, ()).decode()

    assert text.endswith(env_interface(BINDINGS, ()))
    assert text.startswith("// What the Worker finds in env.")
