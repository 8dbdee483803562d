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


def test_each_of_several_indexes_has_a_binding_of_its_own() -> None:
    several = Bindings(
        vector_index="wiki-1",
        shards=("wiki-0", "wiki-1"),
        kv_namespace_id="id-1",
        vector_binding="CHUNKS",
    )

    assert several.vector_bindings() == {"wiki-0": "CHUNKS_WIKI_0", "wiki-1": "CHUNKS_WIKI_1"}
    assert env_interface(several, ()) == (
        "interface Env {\n"
        "  CHUNKS_WIKI_0: Vectorize;\n"
        "  CHUNKS_WIKI_1: Vectorize;\n"
        "  FILE_VECTOR_INDEX: KVNamespace;\n"
        "}\n"
    )
    assert several.toml() == (
        '[[vectorize]]\nbinding = "CHUNKS_WIKI_0"\nindex_name = "wiki-0"\n\n'
        '[[vectorize]]\nbinding = "CHUNKS_WIKI_1"\nindex_name = "wiki-1"\n\n'
        '[[kv_namespaces]]\nbinding = "FILE_VECTOR_INDEX"\nid = "id-1"\n'
    )
