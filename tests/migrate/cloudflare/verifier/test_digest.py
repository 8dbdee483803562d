"""The digest in JavaScript is the digest in Python: seeded numbers and vectors through both."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from migrate.model.canonical import decode_json
from migrate.model.digest import digest_vector
from migrate.model.float_text import read_float32
from migrate.model.records import Vector, VectorId
from tests.harness.running.node import WORKER, node_program
from tests.harness.running.programs import run_program
from tests.migrate.cloudflare.verifier.digest_cases import hard_vectors, number_vectors

NUMBERS, VECTORS, SEED = 1_000_000, 10_000, 20261129


def digest_in_python(text: str) -> str:
    """What a comparison over REST makes of this vector."""
    record = decode_json(text.encode())
    assert isinstance(record, dict)
    vector = Vector(
        id=VectorId(record["id"]),
        values=read_float32(np.array(record["values"]).astype(np.float64)),
        namespace=record.get("namespace") or None,
        metadata=record.get("metadata"),
    )
    return digest_vector(vector).hex()


def digests_in_javascript(texts: Iterator[str], folder: Path) -> tuple[list[str], list[str]]:
    """The texts, and what Node.js makes of each."""
    kept = list(texts)
    cases = folder / "cases.jsonl"
    cases.write_text("".join(f"{text}\n" for text in kept), encoding="utf-8")
    done = run_program(node_program(), WORKER / "test" / "verifier" / "digests.ts", cases)
    assert done.returncode == 0, done.stderr
    return kept, done.stdout.split()


def differing(texts: Iterator[str], folder: Path) -> list[str]:
    """The beginnings of those that the two sides see in different ways."""
    kept, found = digests_in_javascript(texts, folder)
    assert len(kept) == len(found)
    return [
        text[:300]
        for text, digest in zip(kept, found, strict=True)
        if digest != digest_in_python(text)
    ]


@pytest.mark.slow
@pytest.mark.fault("H01")
def test_a_million_numbers_have_one_digest_on_both_sides(tmp_path: Path) -> None:
    assert differing(number_vectors(SEED, NUMBERS), tmp_path) == []


@pytest.mark.slow
@pytest.mark.fault("H01")
def test_hard_vectors_have_one_digest_on_both_sides(tmp_path: Path) -> None:
    assert differing(hard_vectors(SEED, VECTORS), tmp_path) == []


@pytest.mark.search
@pytest.mark.fault("H01")
@pytest.mark.parametrize("seed", range(3))
def test_further_numbers_and_vectors_have_one_digest(seed: int, tmp_path: Path) -> None:
    assert differing(number_vectors(seed, NUMBERS), tmp_path) == []
    assert differing(hard_vectors(seed, VECTORS), tmp_path) == []


@pytest.mark.slow
@pytest.mark.fault("H01")
def test_the_digests_of_different_vectors_differ(tmp_path: Path) -> None:
    """The agreement means something: what differs has another digest, on both sides."""
    _, found = digests_in_javascript(hard_vectors(SEED, 1_000), tmp_path)

    assert len(set(found)) == 1_000


@pytest.mark.fault("D09", "H01")
def test_beyond_the_limit_of_the_mapping_two_numbers_are_seen_as_one(tmp_path: Path) -> None:
    """Why integers are quarantined from 2^53 on: a neighbour of 2^53 would pass for it."""
    texts = [
        f'{{"id":"a","values":[1],"metadata":{{"n":{number}}}}}'
        for number in (2**53 - 2, 2**53 - 1, 2**53, 2**53 + 1)
    ]
    _, found = digests_in_javascript(iter(texts), tmp_path)

    assert found == [digest_in_python(text) for text in texts]
    assert len(set(found)) == 3
    assert found[2] == found[3]


@pytest.mark.fault("H01")
@pytest.mark.parametrize(
    "members",
    [
        '"values":[1,null]',
        '"values":[1,"1"]',
        '"values":[1,1e39]',
        '"values":null',
        '"values":{"0":1}',
        '"metadata":{}',
        '"values":[1],"metadata":[]',
        '"values":[1],"metadata":"text"',
        '"values":[1],"metadata":{"a":1e400}',
        '"values":[1],"namespace":7',
    ],
)
def test_what_is_no_vector_is_unreadable_in_javascript(members: str, tmp_path: Path) -> None:
    _, found = digests_in_javascript(iter([f'{{"id":"a",{members}}}']), tmp_path)

    assert found == ["unreadable"]
