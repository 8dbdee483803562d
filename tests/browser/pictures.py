"""Make the pictures of docs/pictures: `.venv/bin/python -m tests.browser.pictures`.

The reports are pages of documents that are made up, so that no name of a machine is in them. The
rehearsal is the screen of a real one, which is run here and takes about a minute and a half.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from reconcile.page.documents import Documents, FileSum, IdRows, NextStep
from reconcile.page.render import render_page
from tests.browser.chromium import Page, opened_page
from tests.browser.rehearsal_picture import rehearsal_page, rehearsal_screen
from tests.docs.texts.named import ROOT

FOLDER = ROOT / "docs" / "pictures"
REHEARSAL_WIDTH = 880  # 100 columns, about as wide as a page of README
POINTS, LEFT_OUT, OTHERS = 100_412, 15, 10
MOVED = POINTS - LEFT_OUT
RUN = "000-20261129T203000Z"
SNAPSHOT = "20261129T201500Z-7f4c3d-00"
ROOT_DIGEST = "9fa74d609d0435bf76834523239ae64425c030caae658872837a93a848688e0d"
FILES = (
    "1OswReIjZw4QVXnluxcxmjAUlCtgZLvqg",
    "1lwACLNz39pWJ1tjEA2LslsqeSH1xAi2_",
    "1c-N2RiLTY-LX_DDIvU-ZMBH5psRBoo0q",
    "1UeHa5OMCXtvRCe9i0n2pww8_zcgiGJpl",
)


def report(verdict: str, *, missing: int = 0, extra: int = 0, differ: int = 0) -> dict[str, object]:
    """A report of these differences."""
    expected = MOVED + OTHERS
    return {
        "run_id": RUN,
        "ordinal": 2 if verdict == "drift" else 3,
        "started_at": "2026-11-29T20:58:02+00:00",
        "at": "2026-11-29T21:27:40+00:00",
        "verdict": verdict,
        "why": "no drift at the stated coverage",
        "coverage": {"contents": "full", "checked": MOVED, "bound": 0.0},
        "counts": {
            "source": POINTS,
            "snapshot": POINTS,
            "expected": expected,
            "vector_index": expected - missing + extra,
            "kv_ids": MOVED,
            "kv_counter": expected,
        },
        "drift": {
            "missing": missing,
            "extra": extra,
            "mismatched": differ,
            "unreadable": 0,
            "kv_missing": 0,
            "kv_extra": 0,
            "kv_mismatched": 0,
            "counter": 0,
        },
        "source_drift": {"added": 0, "changed": 0, "deleted": 0},
        "metadata_indexes": [],
        "made_by": {"tool": "q2v 0.1.0", "commit": "4b9c1eb07a2d", "operator": "anna@window"},
    }


def documents(found: dict[str, object]) -> Documents:
    """The documents around a report."""
    return Documents(
        manifest={
            "collection": "drive-chunks",
            "snapshot_id": SNAPSHOT,
            "content_root": ROOT_DIGEST,
            "server": "qdrant 1.15.4",
            "started_at": "2026-11-29T20:15:00+00:00",
            "sealed_at": "2026-11-29T20:21:00+00:00",
            "source": {"url": "https://qdrant.internal:6333"},
        },
        plan={
            "run_id": RUN,
            "created_at": "2026-11-29T20:30:00+00:00",
            "tool": "q2v 0.1.0",
            "points": POINTS,
            "vector_target": {
                "account": "81f5a2d08797b265",
                "host": "api.cloudflare.com",
                "vector_index": "chunks-2026-11",
            },
            "kv_target": {"kv_namespace": "1a34f60b13532a63b64a29283f1d0113"},
        },
        report=found,
        reconciles=(found,),
        quarantined={"metadata_too_large": 12, "kv_key": 3},
        files=(FileSum(name="manifest.json", sha256=ROOT_DIGEST),),
    )


def equal() -> Documents:
    """Everything arrived."""
    return replace(
        documents(report("equal")),
        next_step=NextStep(
            means="what was compared is equal, at the coverage that the report states",
            text="run `q2v gate --until TIME`, TIME being the end of the window: it shows what "
            "speaks for the cutover and what does not (RUNBOOK: gate)",
            is_command=False,
        ),
    )


def drift() -> Documents:
    """Some vectors are missing, some differ."""
    missing = [f"{FILES[at % 2]}_{at}" for at in range(340, 380)]
    differ = [f"{FILES[2 + at % 2]}_{at}" for at in range(7, 25)]
    found = report("drift", missing=len(missing), extra=1, differ=len(differ))
    return replace(
        documents(found),
        rows=(
            IdRows(
                name="mismatched", total=len(differ), lines=tuple(differ), place="mismatched.ids"
            ),
            IdRows(name="missing", total=len(missing), lines=tuple(missing), place="missing.ids"),
            IdRows(name="extra", total=1, lines=("stray",), place="extra.ids"),
        ),
        differs={
            name: ("values", "metadata.title") if at % 3 == 0 else ("metadata.title",)
            for at, name in enumerate(differ)
        },
        next_step=NextStep(
            means="something that the run wrote is missing or different; a repair writes it",
            text="q2v migrate",
            is_command=True,
        ),
    )


def take_rehearsal(page: Page, folder: Path) -> None:
    """A picture for light pages and one for dark ones, of the same screen."""
    path = folder / "rehearsal.html"
    path.write_text(rehearsal_page(rehearsal_screen(folder)), encoding="utf-8")
    page.resize(REHEARSAL_WIDTH, 100)
    for scheme in ("light", "dark"):
        page.media(scheme=scheme)
        page.open(path)
        page.settle()
        page.picture(FOLDER / f"rehearsal-{scheme}.png", whole=True)


def main() -> None:
    """Write the pictures."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, opened_page(Path(name) / "profile") as page:
        take_rehearsal(page, Path(name))
        path = Path(name) / "report.html"
        for picture, shown, scheme, height in (
            ("report-equal.png", equal(), "light", 985),
            ("report-drift.png", drift(), "dark", 800),
        ):
            path.write_text(render_page(shown), encoding="utf-8")
            page.resize(1040, height)
            page.media(scheme=scheme)
            page.open(path)
            if shown.rows:  # the picture begins a little above the counts
                page.run("document.querySelector('#counts').scrollIntoView(); scrollBy(0, -20)")
            page.settle()
            page.picture(FOLDER / picture)


if __name__ == "__main__":
    main()
