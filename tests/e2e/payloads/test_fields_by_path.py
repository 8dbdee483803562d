"""Fields inside objects: a collection as LangChain writes it moves, is watched, and goes back."""

import json
from pathlib import Path

import pytest

from migrate.mapping.ids import hash_long_id
from reconcile.gate.criteria import Criterion
from tests.harness.running.workbench import chunk_hash, unit_vectors, workbench
from tests.servers.qdrant_points import StoredPoint

pytestmark = pytest.mark.slow

SETTINGS = {
    "Q2V_MAPPING_ID_TEMPLATE": "{point_id}",
    "Q2V_MAPPING_GROUP_KEY": "metadata.source",
    "Q2V_MAPPING_ORDER_KEY": "metadata.start_index",
    "Q2V_MAPPING_HASH_KEY": "metadata.sha256",
    "Q2V_MAPPING_HASH_OF": "page_content",
    "Q2V_MAPPING_HASH_MISMATCH": "quarantine",
    "Q2V_KV_KEY_TEMPLATE": "file:{metadata.source}",
    "Q2V_TARGET_METADATA_INDEXES": "metadata.source:string",
}


def documents(sources: list[object]) -> list[StoredPoint]:
    """Points as langchain-qdrant stores them: the text, and one object with all the rest."""
    return [
        StoredPoint(
            id=number,
            vectors={"": values.tolist()},
            payload={
                "page_content": f"text {number}",
                "metadata": {
                    "source": sources[number % len(sources)],
                    "start_index": 900 - number,
                    "sha256": chunk_hash(f"text {number}"),
                },
            },
        )
        for number, values in enumerate(unit_vectors(30))
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sources", "more"),
    [
        (["docs/a.md", "docs/b.md", "docs/größe.md"], {}),
        (
            [7, 2**53 - 1, 0],
            {
                "Q2V_MAPPING_GROUP_TYPE": "integer",
                "Q2V_TARGET_METADATA_INDEXES": "metadata.source:number",
            },
        ),
    ],
    ids=["text", "integer"],
)
def test_fields_inside_an_object_name_file_and_order(
    tmp_path: Path, sources: list[object], more: dict[str, str]
) -> None:
    stored = documents(sources)
    with workbench(tmp_path, stored, settings={**SETTINGS, **more}) as bench:
        before = bench.state()
        assert bench.move().exit_code == 0
        assert bench.run("reconcile").document["verdict"] == "equal"

        entries = bench.entries()
        found = {name: metadata for name, (_, metadata) in bench.stored().items()}
        gate = bench.run("gate", "--until", "2036-01-01T00:00+00:00")
        monitor = bench.run("monitor")
        undone = bench.run("rollback", "--execute", "--yes")

        assert found == {str(point.id): point.payload for point in stored}
        by_place = [str(n) for n in range(29, -1, -1)]  # the last point stands first in its file
        for at, source in enumerate(sources):
            expected = [one for one in by_place if int(one) % len(sources) == at]
            assert json.loads(entries[f"file:{source}"]) == expected
        verdicts = {row["criterion"]: row["verdict"] for row in gate.document["rows"]}
        assert verdicts[Criterion.QUERIES.word] == "pass", gate.document
        assert monitor.exit_code == 0, monitor.stdout
        assert undone.exit_code == 0, undone.stderr
        assert bench.state() == before


@pytest.mark.slow
@pytest.mark.fault("D06")
def test_ids_that_do_not_fit_move_as_digests_when_declared(tmp_path: Path) -> None:
    sources: list[object] = [f"https://example.com/{'handbook/' * 6}{name}.html" for name in "ab"]
    settings = {
        **SETTINGS,
        "Q2V_MAPPING_ID_TEMPLATE": "{metadata.source}#{metadata.start_index}",
        "Q2V_MAPPING_LONG_IDS": "hash:vector_id",
    }
    with workbench(tmp_path, documents(sources), settings=settings) as bench:
        before = bench.state()
        plan = bench.run("plan", "--details", as_json=False)
        assert bench.move().exit_code == 0
        assert bench.run("reconcile").document["verdict"] == "equal"

        entries, stored = bench.entries(), bench.stored()
        monitor = bench.run("monitor")
        undone = bench.run("rollback", "--execute", "--yes")

        assert "30 ids of more than 64 bytes are replaced by a digest of 192 bits" in plan.stdout
        for source in sources:
            ids = json.loads(entries[f"file:{source}"])
            whole = [(stored[one][1] or {})["vector_id"] for one in ids]
            numbers = [int(str(one).removeprefix(f"{source}#")) for one in whole]
            assert numbers == sorted(numbers)
            assert ids == [hash_long_id(str(one)) for one in whole]
        assert monitor.exit_code == 0, monitor.stdout
        assert undone.exit_code == 0, undone.stderr
        assert bench.state() == before
