"""The stubs without the client around them: fast to load, and in nobody else's way."""

import pytest

from tests.harness.running.programs import output_of_python


def run(program: str) -> str:
    return output_of_python("-c", program).strip()


@pytest.mark.slow
def test_reading_over_grpc_loads_no_model_of_a_rest_message() -> None:
    loaded = run(
        "import sys, migrate.qdrant.grpc.source\n"
        "print(sorted(name for name in sys.modules if name.startswith('qdrant_client.http')))"
    )

    assert loaded == "[]"


@pytest.mark.slow
def test_the_client_can_be_imported_afterwards_and_speaks_the_same_messages() -> None:
    same = run(
        "from migrate.qdrant.grpc.messages import wire\n"
        "import qdrant_client\n"
        "from qdrant_client import grpc\n"
        "qdrant_client.QdrantClient(':memory:').get_collections()\n"
        "print(grpc.ScrollPoints is wire.ScrollPoints)"
    )

    assert same == "True"


@pytest.mark.slow
def test_a_client_that_is_imported_already_is_left_as_it_is() -> None:
    same = run(
        "import sys, qdrant_client\n"
        "from migrate.qdrant.grpc.messages import wire\n"
        "print(sys.modules['qdrant_client'] is qdrant_client, wire is qdrant_client.grpc)"
    )

    assert same == "True True"
