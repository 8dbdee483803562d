"""`q2v init` writes the first migration.toml: what it looks at, asks, refuses and says."""

import errno
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from migrate.errors import ExitCode
from migrate.mapping.shapes.known import SHAPES
from migrate.storage.disk import Disk
from q2v import wiring
from q2v.main import cli
from tests.harness.fakes.clock import ImpatientClock
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import (
    API_KEY,
    API_TOKEN,
    Workbench,
    points,
    unit_vectors,
    workbench,
)
from tests.harness.running.workspace import Result
from tests.migrate.mapping.shapes.written import CHOSEN, WRITERS, Payload, point_uuid
from tests.servers.on_disk.qdrant_storage import write_collection
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import Answer

NAMED = ["--source-url", "http://127.0.0.1:1", "--collection", "docs", "--vector-index", "docs-1"]


def written_by(name: str, count: int = 30) -> list[StoredPoint]:
    """Points as a writer writes them."""
    return stored(*map(WRITERS[name], range(count)))


def stored(*payloads: Payload) -> list[StoredPoint]:
    vectors = unit_vectors(len(payloads))
    return [
        StoredPoint(id=point_uuid(number), vectors={"": vectors[number].tolist()}, payload=payload)
        for number, payload in enumerate(payloads)
    ]


def init(bench: Workbench, *words: str) -> Result:
    return bench.run("init", "--out", str(file_of(bench)), *words)


def file_of(bench: Workbench) -> Path:
    return bench.folder / "migration.toml"


def alone(folder: Path, *words: str, typed: str | None = None) -> Result:
    """The command without a source."""
    arguments = ["init", "--out", str(folder / "migration.toml"), "--dir", str(folder / "dir")]
    result = CliRunner().invoke(cli, [*arguments, *words], input=typed)
    return Result(result.exit_code, result.stdout, result.stderr)


def table(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stdin of the runner says that it is a terminal."""
    monkeypatch.setattr(
        "click.testing._NamedTextIOWrapper.isatty", lambda stream: stream.name == "<stdin>"
    )


@pytest.mark.fault("M30")
@pytest.mark.parametrize("name", WRITERS)
def test_the_shape_is_recognised_and_a_plan_with_the_file_leaves_no_point_out(
    name: str, tmp_path: Path
) -> None:
    with workbench(tmp_path, written_by(name), provision=False) as bench:
        found = init(bench).document
        plan = bench.run("plan", "--config", str(file_of(bench))).document

    group, order, digest, indexed = CHOSEN[name]
    mapping = table(tmp_path / "migration.toml")["mapping"]
    assert (found["shape"], found["points"], found["left_out"]) == (name, 30, {})
    assert found["reasons"][0].startswith("30 of 30 points have ")
    assert (mapping["group_key"], mapping["order_key"], mapping["hash_key"]) == (
        group,
        order,
        digest,
    )
    assert (plan["vectors"], plan["quarantined"], plan["files"]) == (30, {}, 3)
    assert plan["metadata_types"] == {one: {"string": 30} for one in indexed}


@pytest.mark.fault("M30")
@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_can_be_named_without_a_source(name: str, tmp_path: Path) -> None:
    done = alone(tmp_path, "--shape", name, "--no-source", *NAMED, "--json")

    path = tmp_path / "migration.toml"
    assert done.exit_code == 0, done.stderr
    assert (done.document["shape"], done.document["written"]) == (name, True)
    assert table(path)["source"] == {"url": "http://127.0.0.1:1", "collection": "docs"}
    assert not (tmp_path / "dir").exists(), "nothing but the file is written"


@pytest.mark.fault("M31")
def test_200_points_are_looked_at_and_no_more(tmp_path: Path) -> None:
    with workbench(tmp_path, points(250), provision=False) as bench:
        assert init(bench).document["points"] == 200
        assert not [one for one in bench.collection.requests if "PUT" in one]


@pytest.mark.fault("M31")
def test_what_has_no_known_shape_is_named_by_its_fields_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    mine = [{"title": "a", "body": "b"}, {"title": "a"}]
    with workbench(tmp_path, stored(*mine), provision=False) as bench:
        refused = init(bench)
        assert not file_of(bench).exists()
        plain = init(bench, "--shape", "plain")
        plan = bench.run("plan", "--config", str(file_of(bench))).document

    error = refused.document["error"]
    assert refused.exit_code == ExitCode.PRECONDITION
    assert "none of a known one, with the fields title, body" in error["what"]
    assert "--shape" in error["next"]
    assert plain.exit_code == 0
    assert "no field names the file" in plain.document["decisions"][0]
    assert (plan["vectors"], plan["quarantined"]) == (2, {})


@pytest.mark.fault("M31")
def test_points_that_are_not_of_the_shape_are_said(tmp_path: Path) -> None:
    """Of one that was named too, whatever shape they have."""
    payloads = [WRITERS["dify"](number) for number in range(19)] + [{"title": "a"}]
    with workbench(tmp_path, stored(*payloads), provision=False) as bench:
        recognised = init(bench).document
        file_of(bench).unlink()
        named = init(bench, "--shape", "langchain").document

    said = "1 of 20 points are not of this shape: are they to move too?"
    assert (recognised["shape"], recognised["decisions"][0]) == ("dify", said)
    assert named["reasons"][0].startswith("19 of 20 points have page_content")
    assert named["decisions"][0] == said


def test_an_empty_collection_needs_a_named_shape(tmp_path: Path) -> None:
    with workbench(tmp_path, [], provision=False) as bench:
        refused = init(bench)

    assert refused.exit_code == ExitCode.PRECONDITION
    assert "has no points" in refused.stderr


@pytest.mark.fault("M31")
def test_points_that_would_be_left_out_are_said_and_a_plan_says_the_same(tmp_path: Path) -> None:
    payloads = [WRITERS["langchain"](number) for number in range(12)]
    payloads[3]["metadata"]["source"] = "a name with blanks.md"
    with workbench(tmp_path, stored(*payloads), provision=False) as bench:
        found = init(bench).document
        plan = bench.run("plan", "--config", str(file_of(bench))).document

    assert found["left_out"] == plan["quarantined"] == {"kv_key": 1}
    assert found["decisions"] == [
        f"1 of 12 points would be left out: kv_key (1); "
        f"`q2v plan --dir {bench.directory} --config {tmp_path / 'migration.toml'}` names them"
    ]


@pytest.mark.fault("M32")
def test_a_file_that_exists_is_never_replaced(tmp_path: Path) -> None:
    """The same command finds what it has written, and leaves it."""
    path = tmp_path / "migration.toml"
    path.write_text("[source]\n# mine\n")

    refused = alone(tmp_path, "--shape", "seed", "--no-source", *NAMED)
    assert refused.exit_code == ExitCode.PRECONDITION
    assert "exists with another content; nothing was written" in refused.stderr
    assert path.read_text() == "[source]\n# mine\n"

    path.unlink()
    again = [alone(tmp_path, "--shape", "seed", "--no-source", *NAMED, "--json") for _ in range(2)]
    assert [one.document["written"] for one in again] == [True, False]


@pytest.mark.fault("M32")
def test_a_file_that_exists_answers_what_a_second_one_needs(tmp_path: Path) -> None:
    first = tmp_path / "migration.toml"
    assert alone(tmp_path, "--shape", "seed", "--no-source", *NAMED).exit_code == 0
    words = ["--config", str(first), "--out", str(tmp_path / "other.toml")]

    done = alone(tmp_path, "--shape", "n8n", "--no-source", *words)

    assert done.exit_code == 0, done.stderr
    assert table(tmp_path / "other.toml")["source"] == table(first)["source"]


@pytest.mark.fault("M32")
def test_a_link_is_not_followed_and_a_missing_folder_not_made(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "migration.toml").symlink_to(tmp_path / "elsewhere")

    linked = alone(tmp_path, "--shape", "seed", "--no-source", *NAMED)
    nowhere = alone(tmp_path / "nowhere", "--shape", "seed", "--no-source", *NAMED)

    assert (linked.exit_code, nowhere.exit_code) == (ExitCode.USAGE, ExitCode.USAGE)
    assert (tmp_path / "elsewhere").read_text() == ""
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.fault("M32")
@pytest.mark.parametrize("out", ["", "/dev/null", "/dev/full"])
def test_what_is_no_file_is_refused_as_a_wrong_name(out: str, tmp_path: Path) -> None:
    refused = CliRunner().invoke(
        cli, ["init", "--out", out, "--shape", "seed", "--no-source", *NAMED]
    )

    assert refused.exit_code == ExitCode.USAGE
    assert "is no regular file" in refused.stderr
    assert "next: name another file" in refused.stderr


@pytest.mark.fault("M32", "G06")
def test_a_folder_that_takes_no_file_is_named_with_the_way_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Disk, "create", refuse)
    refused = alone(tmp_path, "--shape", "seed", "--no-source", *NAMED)

    assert refused.exit_code == ExitCode.LOCAL_IO
    assert "Read-only file system" in refused.stderr
    assert f"make the folder {tmp_path} writable" in refused.stderr
    assert "--dir" not in refused.stderr
    assert not list(tmp_path.glob("*.toml"))


@pytest.mark.fault("M32")
def test_the_file_has_the_mode_of_the_operators_own_files(tmp_path: Path) -> None:
    """It holds no secret, and others may have to read it; no other file is left beside it."""
    mask = os.umask(0o027)
    try:
        assert alone(tmp_path, "--shape", "seed", "--no-source", *NAMED).exit_code == 0
    finally:
        os.umask(mask)

    assert [one.name for one in tmp_path.iterdir()] == ["migration.toml"]
    assert stat.S_IMODE((tmp_path / "migration.toml").stat().st_mode) == 0o640


@pytest.mark.fault("M32", "X01")
def test_no_secret_is_in_the_file_and_one_at_a_wrong_place_is_refused(tmp_path: Path) -> None:
    with workbench(tmp_path, points(9), provision=False) as bench:
        done = init(bench)
        text = file_of(bench).read_text(encoding="utf-8")
        file_of(bench).unlink()
        pasted = init(bench, "--vector-index", API_TOKEN)

    assert API_KEY not in text + done.stdout
    assert API_TOKEN not in text + done.stdout
    assert pasted.exit_code == ExitCode.USAGE
    assert "holds a secret" in pasted.document["error"]["what"]
    assert API_TOKEN not in pasted.stdout + pasted.stderr
    assert not (tmp_path / "migration.toml").exists()


@pytest.mark.fault("M32")
def test_both_tokens_and_their_rights_are_named_in_the_file_and_on_stdout(tmp_path: Path) -> None:
    done = alone(tmp_path, "--shape", "seed", "--no-source", *NAMED)

    for text in (done.stdout, (tmp_path / "migration.toml").read_text()):
        words = " ".join(text.replace("#", " ").split())
        assert "QDRANT_API_KEY" in words
        assert "Vectorize: Edit and Workers KV Storage: Edit" in words
        assert "Vectorize: Read and Workers KV Storage: Read" in words
    assert done.stdout.splitlines()[-1].startswith("next: q2v check --dir ")


@pytest.mark.fault("M33")
def test_without_a_terminal_all_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    refused = alone(tmp_path)

    assert refused.exit_code == ExitCode.USAGE
    assert "source.url, source.collection, target.vector_index" in refused.stderr
    assert "--source-url" in refused.stderr
    assert not (tmp_path / "migration.toml").exists()


@pytest.mark.fault("M33")
def test_without_points_a_shape_has_to_be_named(tmp_path: Path) -> None:
    refused = alone(tmp_path, "--no-source", *NAMED)

    assert refused.exit_code == ExitCode.USAGE
    assert "--no-source: found no --shape" in refused.stderr


@pytest.mark.fault("M33")
def test_a_source_that_cannot_be_read_names_the_way_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "system_clock", ImpatientClock)
    with workbench(tmp_path, points(9), provision=False) as bench:
        bench.source.faults.append(Answer(path="/", status=503, times=100))
        refused = init(bench)

    assert refused.exit_code == ExitCode.UNAVAILABLE
    advised = f"q2v init --no-source --shape NAME --out {file_of(bench)}"
    assert advised in refused.document["error"]["next"]


@pytest.mark.fault("M33")
@pytest.mark.usefixtures("on_a_terminal")
def test_on_a_terminal_it_asks_for_what_is_missing_until_it_fits(tmp_path: Path) -> None:
    answers = ["http://a b", "http://127.0.0.1:1", "a/b", "docs", "1docs", "docs-1", "0123abcd"]

    done = alone(tmp_path, "--shape", "seed", "--no-source", typed="\n".join(answers) + "\n")

    assert done.exit_code == 0, done.stderr
    written = table(tmp_path / "migration.toml")
    assert written["source"] == {"url": "http://127.0.0.1:1", "collection": "docs"}
    assert written["target"]["vector_index"] == "docs-1"
    assert written["target"]["account_id"] == "0123abcd"
    assert done.stderr.count("Error:") == 3


@pytest.mark.fault("M33")
@pytest.mark.usefixtures("on_a_terminal")
def test_an_answer_without_a_scheme_is_a_folder(tmp_path: Path) -> None:
    answers = "store\ndocs\ndocs-1\n0123abcd\n"

    done = alone(tmp_path, "--shape", "seed", "--no-source", typed=answers)

    assert done.exit_code == 0, done.stderr
    assert table(tmp_path / "migration.toml")["source"]["path"] == "store"


@pytest.mark.fault("M33")
@pytest.mark.usefixtures("on_a_terminal")
def test_a_shape_that_was_not_recognised_is_asked_for_on_a_terminal(tmp_path: Path) -> None:
    with workbench(tmp_path, stored({"a": 1}), provision=False) as bench:
        words = bench.arguments("init", "--out", str(file_of(bench)), "--account-id", "0123abcd")
        done = CliRunner().invoke(cli, words, env=bench.environment, input="qdrant\nplain\n")

    assert done.exit_code == 0, done.stderr
    assert "no shape was recognised in 1 point" in done.stderr
    assert table(tmp_path / "migration.toml")["mapping"]["id_template"] == "{point_id}"


@pytest.mark.fault("M33")
def test_the_only_named_vector_is_taken_and_one_of_several_has_to_be_named(tmp_path: Path) -> None:
    shape = {"size": 8, "distance": "Cosine"}
    vectors = unit_vectors(1, 8)[0].tolist()
    named = [StoredPoint(id=1, vectors={"text": vectors}, payload=WRITERS["seed"](0))]
    with workbench(tmp_path, named, provision=False) as bench:
        bench.collection.vectors = {"text": shape}
        assert init(bench).exit_code == 0
        assert table(file_of(bench))["source"]["vector_name"] == "text"
        file_of(bench).unlink()
        bench.collection.vectors = {"image": shape, "text": shape}
        refused = init(bench)
        chosen = init(bench, "--vector-name", "text")

    assert refused.exit_code == ExitCode.USAGE
    assert "one of the vectors of the collection: image, text" in refused.document["error"]["what"]
    assert chosen.exit_code == 0
    assert table(tmp_path / "migration.toml")["source"]["vector_name"] == "text"


def test_a_stopped_servers_folder_is_looked_at_too(tmp_path: Path) -> None:
    vectors: dict[str, object] = {"size": DIMENSIONS, "distance": "Cosine"}
    collection = StoredCollection(name="docs", vectors=vectors, points=written_by("haystack"))
    source = write_collection(tmp_path / "storage", collection, shards=1)
    named = ["--source-path", str(source), "--collection", "docs", "--vector-index", "docs-1"]

    found = alone(tmp_path, *named, "--json")

    assert found.exit_code == 0, found.stderr
    assert (found.document["shape"], found.document["points"]) == ("haystack", 30)
    assert table(tmp_path / "migration.toml")["source"]["path"] == str(source)
