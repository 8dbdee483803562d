"""Real text, true hashes, ids that can be computed again, and the same bytes every time."""

import hashlib
import os
import re
import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import qdrant_edge

from rehearsal.corpus.build import CHUNKS_MAX, PREVIEW_CHARACTERS, Chunk, build_corpus, read_chunks
from rehearsal.corpus.chunks import CHUNK_CHARACTERS_MAX, split_chunks
from rehearsal.corpus.embedding import embed_texts
from tests.harness.running.programs import output_of_python


@pytest.fixture(scope="module")
def chunks() -> list[Chunk]:
    return read_chunks()


@pytest.mark.slow
def test_it_is_as_large_as_a_rehearsal_needs(chunks: list[Chunk]) -> None:
    """At least 300 files and 4,000 chunks; some files beyond 20 and beyond 100 chunks."""
    sizes = Counter(str(chunk.payload["file_id"]) for chunk in chunks)

    assert len(chunks) == CHUNKS_MAX >= 4_000
    assert len(sizes) >= 300
    assert max(sizes.values()) > 100
    assert sum(size > 20 for size in sizes.values()) >= 5


@pytest.mark.slow
def test_every_chunk_is_what_its_payload_says(chunks: list[Chunk]) -> None:
    for chunk in chunks:
        payload = chunk.payload
        name = f"{payload['file_id']}_{payload['chunk_index']}"
        assert re.fullmatch(r"1[A-Za-z0-9_-]{32}", str(payload["file_id"]))
        assert payload["chunk_hash"] == hashlib.sha256(chunk.text.encode()).hexdigest()
        assert payload["text"] == chunk.text[:PREVIEW_CHARACTERS]
        assert chunk.point_id == str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def test_chunks_are_in_order_and_lose_no_word() -> None:
    text = "\n\n".join(
        f"Paragraph {n} says something. " + "More words follow. " * n for n in range(60)
    )
    chunks = split_chunks(text)

    assert all(0 < len(chunk) <= CHUNK_CHARACTERS_MAX for chunk in chunks)
    assert set(text.split()) == set(" ".join(chunks).split())


@pytest.mark.slow
def test_neighbours_stay_neighbours_in_the_wider_space(chunks: list[Chunk]) -> None:
    texts = [chunk.text for chunk in chunks[:200]]
    narrow, wide = (embed_texts(texts, width).astype(np.float64) for width in (256, 3_072))

    assert np.abs(narrow @ narrow.T - wide @ wide.T).max() < 1e-6
    assert np.abs(np.linalg.norm(wide, axis=1) - 1).max() < 1e-6


@pytest.mark.slow
def test_a_texts_values_do_not_depend_on_its_company(chunks: list[Chunk]) -> None:
    texts = [chunk.text for chunk in chunks[:70]]

    assert np.array_equal(embed_texts(texts, 512)[65], embed_texts([texts[65]], 512)[0])


@pytest.mark.slow
def test_the_engine_gives_back_the_very_values(tmp_path: Path, chunks: list[Chunk]) -> None:
    report = build_corpus(tmp_path / "source", chunks_max=40)
    shard = qdrant_edge.EdgeShard.load(str(tmp_path / "source"))
    ids: list[int | uuid.UUID | str] = [uuid.UUID(chunk.point_id) for chunk in chunks[:40]]
    found = {record.id: record for record in shard.retrieve(ids, True, True)}
    shard.close()

    expected = embed_texts([chunk.text for chunk in chunks[:40]], 3_072)
    assert report.chunks == len(found) == 40
    for row, point_id in enumerate(ids):
        values = np.array(found[point_id].vector, np.float32)
        assert values.tobytes() == expected[row].tobytes()
        payload = found[point_id].payload
        assert payload is not None
        assert "synthetic width" in payload["embedding_model"]


@pytest.mark.slow
def test_two_processes_make_the_same_bytes(tmp_path: Path) -> None:
    """This one, and one whose sets and dicts are in another order."""
    program = (
        "import sys; from pathlib import Path; from rehearsal.corpus import build_corpus; "
        "print(build_corpus(Path(sys.argv[1]), chunks_max=60).content_sha256)"
    )
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    elsewhere = output_of_python(
        *("-c", program, tmp_path / "elsewhere"), env={**os.environ, "PYTHONHASHSEED": seed}
    )

    assert elsewhere.strip() == build_corpus(tmp_path / "here", chunks_max=60).content_sha256


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()

    with pytest.raises(FileExistsError, match="not empty"):
        build_corpus(tmp_path)
