"""Counts in messages have the right number: `1 vector`, not `1 vectors`."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
NOUNS = (
    "vectors|points|requests|files|ids|keys|snapshots|parts|runs|entries|uploads|contents|queries|"
    "records|rows|namespaces|pages|values"
)
BY_HAND = re.compile(rf"\{{(?!counted\(|subject\()[^{{}}]+\}} (?:KV )?(?:{NOUNS})\b")
# There the number is a limit above one, a text, a rate, or two words share it.
ELSEWHERE = {
    "migrate/archive/readme.py",
    "migrate/check/target.py",
    "migrate/cloudflare/verifier/protocol.py",
    "migrate/mapping/shapes/proposal.py",
    "migrate/mapping/values.py",
    "migrate/qdrant/collection.py",
    "migrate/snapshot/manifest.py",
    "migrate/qdrant/page_reader.py",
    "q2v/commands/move/confirm.py",
    "q2v/output/forced.py",
    "reconcile/gate/files.py",
    "reconcile/scan/by_verifier.py",
}


def test_counts_in_messages_are_made_by_one_helper() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for package in ("migrate", "reconcile", "q2v")
        for path in sorted((ROOT / package).rglob("*.py"))
        if str(path.relative_to(ROOT)) not in ELSEWHERE and "runbook" not in path.parts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (hit := BY_HAND.search(line)) and "_MAX" not in hit[0]
    ]

    assert not found, "write counted(number, noun) of migrate.words:\n" + "\n".join(found)
