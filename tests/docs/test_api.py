"""The Python API: the page is the code's, the example runs, and help loads nothing heavy."""

import doctest
from pathlib import Path

import pytest

import migrate
from sandbox.server import running_sandbox
from tests.harness.running.programs import output_of_python
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import points
from tests.servers.qdrant_points import StoredCollection
from tests.servers.qdrant_rest import rest_server
from tools.api_page import page

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "target-token-93b1c2d4e5f60718"
LOADED_LATE = ("pyarrow", "duckdb", "numpy", "grpc", "httpx")


@pytest.mark.slow
@pytest.mark.early
def test_the_example_of_the_library_runs_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = StoredCollection(
        name="chunks",
        points=points(20, per_file=4),
        vectors={"size": DIMENSIONS, "distance": "Cosine"},
    )
    assert migrate.__doc__ is not None
    example = doctest.DocTestParser().get_doctest(migrate.__doc__, {}, "migrate", None, 0)
    said: list[str] = []
    monkeypatch.chdir(tmp_path)

    with (
        rest_server(collection, api_key="key") as server,
        running_sandbox(tmp_path / "target", api_token=TOKEN) as sandbox,
    ):
        monkeypatch.setenv("QDRANT_URL", server.url)
        monkeypatch.setenv("QDRANT_API_KEY", "key")
        monkeypatch.setenv("CLOUDFLARE_API_BASE_URL", sandbox.base_url)
        monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", sandbox.account_id)
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
        result = doctest.DocTestRunner(optionflags=doctest.REPORT_ONLY_FIRST_FAILURE).run(
            example, out=said.append
        )

    assert result.failed == 0, "".join(said)
    assert result.attempted > 30


def test_the_page_of_the_api_is_made_from_the_code() -> None:
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == page()


def test_the_command_line_loads_no_large_library_for_its_help() -> None:
    code = "import sys, q2v.main; print(*sys.modules)"
    loaded = output_of_python("-c", code, cwd=ROOT).split()

    assert [name for name in LOADED_LATE if name in loaded] == []


@pytest.mark.early
@pytest.mark.slow
def test_the_example_of_the_file_stores_runs_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs" / "file-stores.md").read_text(encoding="utf-8")
    block = next(part for part in text.split("```python\n") if part.startswith(">>> "))
    example = doctest.DocTestParser().get_doctest(
        block.partition("```")[0], {}, "file-stores", None, 0
    )
    said: list[str] = []

    with running_sandbox(tmp_path / "target", api_token=TOKEN) as sandbox:
        namespace_id = sandbox.store.create_kv_namespace("files")
        monkeypatch.setenv("CLOUDFLARE_API_BASE_URL", sandbox.base_url)
        monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", sandbox.account_id)
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
        monkeypatch.setenv("Q2V_KV_NAMESPACE_ID", namespace_id)
        result = doctest.DocTestRunner(optionflags=doctest.REPORT_ONLY_FIRST_FAILURE).run(
            example, out=said.append
        )
        entries = {key: value for key, value, _, _ in sandbox.store.read_kv(namespace_id)}

    assert result.failed == 0, "".join(said)
    assert result.attempted > 10
    assert entries == {"file:report": b'["report_0","report_1"]', "_vector_count": b"2"}
