"""The statement of a reconcile holds for exactly the files it was made over."""

import hashlib
import json
from pathlib import Path

import pytest

from migrate.snapshot.folder import Snapshot
from migrate.storage.local_folder import LocalFolder
from tests.harness.running.workbench import points, workbench


@pytest.mark.slow
@pytest.mark.fault("X11")
def test_the_statement_names_every_file_of_the_verdict_by_its_digest(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        bench.move()
        reports = [bench.run("reconcile").document for _ in range(2)]

    for ordinal, report in enumerate(reports):
        statement = json.loads(Path(report["report"]).with_name("statement.json").read_bytes())
        (folder,) = bench.directory.glob("*/manifest.json")
        snapshot = Snapshot(LocalFolder(folder.parent))
        run = f"runs/{report['run_id']}"
        names = [subject["name"] for subject in statement["subject"]]
        assert names == [
            "manifest.json",
            f"{run}/plan.json",
            f"{run}/journal.jsonl",
            f"{run}/quarantine.jsonl",
            f"{run}/reconcile/{ordinal + 1:03d}/report.json",
            f"{run}/reconcile/{ordinal + 1:03d}/report.html",
            f"{run}/rollback/manifest.json",
        ]
        for subject in statement["subject"]:
            content = (folder.parent / subject["name"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == subject["digest"]["sha256"]
        assert (statement["_type"], statement["predicateType"]) == (
            "https://in-toto.io/Statement/v1",
            "urn:q2v:predicate:reconcile:1",
        )
        predicate = statement["predicate"]
        assert predicate["verdict"] == report["verdict"] == "equal"
        assert predicate["content_root"] == snapshot.manifest.content_root
        assert predicate["counts"] == report["counts"]
