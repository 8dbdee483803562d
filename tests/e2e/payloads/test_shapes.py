"""Points that LangChain, LlamaIndex, Haystack, qdrant-client and LangChain JS wrote move.

`q2v init` recognises them, its file moves them without a point left out, and filters find them.
"""

import json
import re
import sys
import tomllib
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.payloads.handbook import FILES, metadata_of, text_of
from tests.harness.running.node import WORKER, installed, node_program
from tests.harness.running.programs import run_program
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import API_KEY, Workbench, unit_vectors, workbench
from tests.harness.running.workspace import NAMESPACE, REPOSITORY, Result
from tests.migrate.mapping.shapes.written import WRITERS, point_uuid
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import rest_server

BY_PACKAGES = ("langchain", "llamaindex", "haystack", "client")
JAVASCRIPT = Path(__file__).parent / "write_with_langchain.mjs"
PAGE = REPOSITORY / "docs" / "langchain.md"


@dataclass
class Written:
    """A collection, and the ids of its points in the order in which they were written."""

    collection: StoredCollection
    ids: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def by_packages() -> dict[str, Written]:
    """What each package wrote, in one process: they take seconds to load."""
    written = {
        name: Written(StoredCollection(name=name, is_missing=True, is_writable=True))
        for name in BY_PACKAGES
    }
    with ExitStack() as stack:
        servers = {
            name: {
                "url": stack.enter_context(rest_server(one.collection, api_key=API_KEY)).url,
                "api_key": API_KEY,
                "collection": name,
            }
            for name, one in written.items()
        }
        done = run_program(
            *(sys.executable, "-m", "tests.e2e.payloads.write_shapes"),
            cwd=REPOSITORY,
            given=json.dumps({"dimensions": DIMENSIONS, "servers": servers}),
            timeout_s=300,
        )
    assert done.returncode == 0, done.stderr
    for name, ids in json.loads(done.stdout).items():
        written[name].ids = ids
    return written


def run(bench: Workbench, *words: str) -> Result:
    """A command with the file that `q2v init` wrote; it has to succeed."""
    done = bench.run(*words, "--config", str(file_of(bench)))
    assert done.exit_code == 0, done.stderr
    return done


def file_of(bench: Workbench) -> Path:
    return bench.folder / "migration.toml"


def init(bench: Workbench, written: Written, *words: str) -> dict[str, Any]:
    """Write the file for what was written."""
    collection = bench.collection
    collection.points, collection.vectors = written.collection.points, written.collection.vectors
    done = bench.run("init", "--out", str(file_of(bench)), *words)
    assert done.exit_code == 0, done.stderr
    return done.document


def move(bench: Workbench) -> None:
    """Plan, provision, move and prove; no point is left out."""
    assert run(bench, "plan").document["quarantined"] == {}
    bench.environment[NAMESPACE] = run(bench, "provision").document["kv_namespace_id"]
    for words in ("snapshot", "migrate"):
        run(bench, words)
    assert run(bench, "reconcile").document["verdict"] == "equal"


def files_in_kv(bench: Workbench) -> dict[str, set[str]]:
    """The ids of the vectors of each file, by the KV index."""
    entries = {key: json.loads(value) for key, value in bench.entries().items()}
    return {
        key.removeprefix("file:"): set(ids) for key, ids in entries.items() if isinstance(ids, list)
    }


def find(bench: Workbench, field: str, value: str) -> set[str]:
    """The ids of the vectors that a filter finds."""
    values = next(iter(bench.stored().values()))[0].tolist()
    asked = bench.ask_target(
        f"vectorize/v2/indexes/{bench.index}/query",
        {"vector": values, "filter": {field: value}, "topK": 50},
    )
    return {one["id"] for one in asked["result"]["matches"]}


def check_moved(bench: Workbench, written: Written, group: str) -> None:
    """All points are there with their values; a filter on the file finds those of its entry."""
    files = files_in_kv(bench)
    assert len(files) == FILES
    assert sorted(written.ids) == sorted(one for ids in files.values() for one in ids)
    for name, ids in files.items():
        assert find(bench, group, name) == ids
    values = {str(one.key.text): one.vectors[""] for one in written.collection.points}
    for vector_id, (stored, _) in bench.stored().items():
        assert np.array_equal(stored, np.array(values[vector_id], np.float32))


def moved_metadata(bench: Workbench, written: Written, number: int) -> dict[str, Any]:
    metadata = bench.stored()[written.ids[number]][1]
    assert metadata is not None
    return metadata


def plain(number: int) -> dict[str, Any]:
    """What metadata holds of `metadata_of`, when it was at the top of the payload."""
    return {
        "source": f"handbook/{number % FILES}.md",
        "start_index": 800 * (number // FILES),
        "bbox": [str(number), "1.5"],
        "loc": {"lines": f'{{"from":{number},"to":{number + 1}}}'},
        "snowflake": str(2**60 + number),
    }


def inside(number: int) -> dict[str, Any]:
    """The same inside an object, where objects are one level too deep."""
    return {**plain(number), "loc": f'{{"lines":{{"from":{number},"to":{number + 1}}}}}'}


@pytest.mark.slow
@pytest.mark.fault("M30")
def test_what_langchain_wrote_arrives_and_filters_find_it(
    tmp_path: Path, by_packages: dict[str, Written]
) -> None:
    written = by_packages["langchain"]
    with workbench(tmp_path, [], provision=False) as bench:
        assert init(bench, written)["shape"] == "langchain"
        move(bench)

        check_moved(bench, written, "metadata.source")
        assert moved_metadata(bench, written, 4) == {
            "page_content": text_of(4),
            "metadata": inside(4),
        }


@pytest.mark.slow
@pytest.mark.fault("M30")
def test_the_page_on_langchain_shows_what_is_written_for_it(
    tmp_path: Path, by_packages: dict[str, Written]
) -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    with workbench(tmp_path, [], provision=False) as bench:
        init(bench, by_packages["langchain"])
        made = tomllib.loads(file_of(bench).read_text(encoding="utf-8"))

    del made["source"], made["target"]["vector_index"], made["target"]["account_id"]
    assert tomllib.loads(shown) == made


@pytest.mark.slow
@pytest.mark.fault("M30")
def test_what_llamaindex_wrote_arrives_and_its_nodes_can_be_parsed(
    tmp_path: Path, by_packages: dict[str, Written]
) -> None:
    written = by_packages["llamaindex"]
    with workbench(tmp_path, [], provision=False) as bench:
        assert init(bench, written)["shape"] == "llamaindex"
        move(bench)

        check_moved(bench, written, "doc_id")
        metadata = moved_metadata(bench, written, 4)

    node = json.loads(metadata.pop("_node_content"))
    assert (node["text"], node["metadata"]) == (text_of(4), metadata_of(4))
    document = dict.fromkeys(("document_id", "doc_id", "ref_doc_id"), "document-1")
    assert metadata == {**plain(4), **document, "_node_type": "TextNode"}


@pytest.mark.slow
@pytest.mark.fault("M30")
def test_what_haystack_wrote_arrives_and_filters_find_it(
    tmp_path: Path, by_packages: dict[str, Written]
) -> None:
    """Also what its splitter notes of overlaps, a list of objects that hold lists of numbers."""
    written = by_packages["haystack"]
    with workbench(tmp_path, [], provision=False) as bench:
        found = init(bench, written)
        move(bench)

        check_moved(bench, written, "meta.source_id")
        metadata = moved_metadata(bench, written, 1)

    assert found["shape"] == "haystack"
    assert 'order_key = "meta.split_id"' in found["reasons"][2]
    meta = metadata.pop("meta")
    overlaps = [json.loads(one) for one in meta.pop("_split_overlap")]
    assert [set(one) for one in overlaps] == [{"doc_id", "range"}] * 2
    assert metadata.keys() == {"id", "content"}
    assert meta.items() >= {**inside(0), "split_id": 1, "file_path": "a b.md"}.items()


@pytest.mark.slow
@pytest.mark.fault("M30")
def test_what_a_program_of_ones_own_wrote_arrives_with_the_file_that_the_operator_names(
    tmp_path: Path, by_packages: dict[str, Written]
) -> None:
    """By `upload_collection` of qdrant-client; the comments of the file say what to add."""
    written = by_packages["client"]
    with workbench(tmp_path, [], provision=False) as bench:
        assert "no field names the file" in init(bench, written, "--shape", "plain")["decisions"][0]
        text = file_of(bench).read_text(encoding="utf-8")
        for unset, named in (
            ('group_key = ""', 'group_key = "source"'),
            ("metadata_indexes = []", 'metadata_indexes = ["source:string"]'),
        ):
            assert unset in text
            text = text.replace(unset, named)
        file_of(bench).write_text(f'{text}\n[kv]\nkey_template = "file:{{source}}"\n')
        move(bench)

        check_moved(bench, written, "source")
        assert moved_metadata(bench, written, 4) == {"text": text_of(4), **plain(4)}


def as_written(name: str, count: int = 12) -> Written:
    """Points with payloads as the source of their writer has them."""
    values = unit_vectors(count)
    ids = [point_uuid(number) for number in range(count)]
    points = [
        StoredPoint(id=ids[number], vectors={"": values[number].tolist()}, payload=payload)
        for number, payload in enumerate(map(WRITERS[name], range(count)))
    ]
    shape: dict[str, object] = {"size": DIMENSIONS, "distance": "Cosine"}
    return Written(StoredCollection(points=points, vectors=shape), ids)


@pytest.mark.slow
@pytest.mark.fault("M30")
def test_what_dify_would_have_written_arrives_and_filters_find_it(tmp_path: Path) -> None:
    """Dify is no package: its payloads are made as its source makes them, decision 0059."""
    written = as_written("dify")
    with workbench(tmp_path, [], provision=False) as bench:
        assert init(bench, written)["shape"] == "dify"
        move(bench)

        check_moved(bench, written, "metadata.document_id")
        assert find(bench, "group_id", point_uuid(-1)) == set(written.ids)


@pytest.mark.slow
@pytest.mark.fault("M30")
def test_what_langchain_for_javascript_wrote_arrives_and_filters_find_it(tmp_path: Path) -> None:
    """By the store that n8n and Flowise call."""
    expected = as_written("n8n")
    written = Written(StoredCollection(name="n8n", is_missing=True, is_writable=True), expected.ids)
    write_with_langchain_js(written.collection, expected.collection.points)
    payloads = {str(one.key.text): one.payload for one in written.collection.points}
    assert payloads == {one.id: one.payload for one in expected.collection.points}

    with workbench(tmp_path, [], provision=False) as bench:
        assert init(bench, written)["shape"] == "n8n"
        move(bench)

        check_moved(bench, written, "metadata.file_id")


def write_with_langchain_js(collection: StoredCollection, points: list[StoredPoint]) -> None:
    """Write documents with the texts and metadata of these points."""
    installed("@langchain", "qdrant", "package.json")
    payloads = [one.payload or {} for one in points]
    with rest_server(collection, api_key=API_KEY) as source:
        given = {
            "url": source.url,
            "api_key": API_KEY,
            "collection": collection.name,
            "documents": [
                {"id": one.id, "pageContent": payload["content"], "metadata": payload["metadata"]}
                for one, payload in zip(points, payloads, strict=True)
            ],
            "vectors": [one.vectors[""] for one in points],
        }
        done = run_program(
            *(node_program(), "--input-type=module", "-", json.dumps(given)),
            cwd=WORKER,
            given=JAVASCRIPT.read_text(encoding="utf-8"),
            timeout_s=300,
        )
    assert done.returncode == 0, done.stderr
