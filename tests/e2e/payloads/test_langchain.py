"""Points that LangChain itself wrote move with the settings of docs/langchain.md."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.harness.running.programs import run_program
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import Workbench, workbench
from tests.harness.running.workspace import REPOSITORY, Result

PAGE = REPOSITORY / "docs" / "langchain.md"
TEXTS = [f"Chunk {number} of the handbook." for number in range(24)]
METADATA: list[dict[str, Any]] = [
    {
        "source": f"handbook/{number % 3}.md",
        "start_index": 800 * (number // 3),
        "page": None,
        "bbox": [number, 1.5],
        "loc": {"lines": {"from": number, "to": number + 1}},
        "doc_id": 2**60 + number,
    }
    for number in range(24)
]


def write_with_langchain(bench: Workbench) -> list[str]:
    """Write the texts by the package's own store; the ids as Qdrant spells them."""
    bench.collection.is_missing = bench.collection.is_writable = True
    given = {
        "url": bench.source.url,
        "api_key": bench.environment["QDRANT_API_KEY"],
        "collection": bench.collection.name,
        "dimensions": DIMENSIONS,
        "texts": TEXTS,
        "metadata": METADATA,
    }
    done = run_program(
        *(sys.executable, "-m", "tests.e2e.payloads.write_with_langchain"),
        cwd=REPOSITORY,
        given=json.dumps(given),
        timeout_s=300,
    )
    assert done.returncode == 0, done.stderr
    ids: list[str] = json.loads(done.stdout)
    return ids


def run(bench: Workbench, *words: str) -> Result:
    """A command with the settings of the page."""
    (settings,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    config = bench.folder / "migration.toml"
    config.write_text(settings, encoding="utf-8")
    return bench.run(*words, "--config", str(config))


def test_what_langchain_wrote_arrives_and_a_filter_finds_it(tmp_path: Path) -> None:
    with workbench(tmp_path, [], provision=False) as bench:
        ids = write_with_langchain(bench)
        made = run(bench, "provision")
        assert made.exit_code == 0, made.stderr
        bench.environment["Q2V_KV_NAMESPACE_ID"] = made.document["kv_namespace_id"]
        for words in (["snapshot"], ["migrate"]):
            done = run(bench, *words)
            assert done.exit_code == 0, done.stderr
        assert run(bench, "reconcile").document["verdict"] == "equal"
        stored = bench.stored()
        asked = bench.ask_target(
            f"vectorize/v2/indexes/{bench.index}/query",
            {
                "vector": stored[ids[4]][0].tolist(),
                "filter": {"metadata.source": "handbook/1.md"},
                "topK": 20,
            },
        )
        written = {str(point.key.text): point for point in bench.collection.points}

    assert set(stored) == set(ids)
    assert {one["id"] for one in asked["result"]["matches"]} == set(ids[1::3])
    for number, name in enumerate(ids):
        values, metadata = stored[name]
        assert np.array_equal(values, np.array(written[name].vectors[""], np.float32))
        assert metadata == {
            "page_content": TEXTS[number],
            "metadata": {
                "source": f"handbook/{number % 3}.md",
                "start_index": 800 * (number // 3),
                "bbox": [str(number), "1.5"],
                "loc": f'{{"lines":{{"from":{number},"to":{number + 1}}}}}',
                "doc_id": str(2**60 + number),
            },
        }
