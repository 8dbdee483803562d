"""The page of a report runs no script and loads nothing, for any ids and names."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from migrate.storage.id_files import encode_id, write_ids
from migrate.storage.local_folder import LocalFolder, local_file
from reconcile.report.page import render_page
from reconcile.report.report import ReconcileReport
from reconcile.sampling import Coverage
from reconcile.scan.metadata import IndexFinding

pytestmark = pytest.mark.fault("X06")

HOSTILE = [
    "<script>alert(1)</script>",
    "</pre><script src=//evil.example></script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "<!--",
    "&lt;script&gt;",
    "\x1b[31mred\x00\u202e",
    "<style>@import 'https://evil.example'</style>",
    '<meta http-equiv="refresh" content="0;url=https://evil.example">',
]
TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "strong", "table", "tr",
    "td", "pre",
}  # fmt: skip


class Reader(HTMLParser):
    """The tags and attributes that a browser would find in the page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    @override
    def handle_data(self, data: str) -> None:
        self.text += data


def page(texts: list[str], folder: Path) -> str:
    """A report with this text as every value."""
    write_ids(local_file(folder / "missing.ids"), texts)
    first = texts[0] if texts else "why"
    report = ReconcileReport(
        run_id=first,
        snapshot_id=first,
        ordinal=1,
        started_at="2026-11-23T11:00:00+00:00",
        at="2026-11-23T12:00:00+00:00",
        resumed=0,
        abandoned=(first,),
        unread=(first,),
        verdict="drift",
        why=first,
        coverage=Coverage(contents="full", checked=3, vectors=3, seed=None),
        counts={first: 1, "none": None},
        drift={first: 2},
        metadata_indexes=(
            IndexFinding(name=first, declared="string", listed=first, state="other type"),
            IndexFinding(
                name=first, declared="string", listed="string", state="refused", refusal=first
            ),
        ),
        source_drift={first: 3},
        quarantined={first: 4},
        unwaived=4,
        files={first: local_file(folder / "missing.ids")},
        folder=LocalFolder(Path(first)),
        id_files={},
        differs={text: (text,) for text in texts},
        contradicted={first: 5},
        rollback_manifest=first,
        rollback_sha256=None,
    )
    return render_page(report)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_text_is_shown_and_not_obeyed(tmp_path: Path, text: str) -> None:
    found = read(page([text], tmp_path))

    assert set(found.tags) <= TAGS
    assert {name for name, _ in found.attributes} <= {
        "lang", "charset", "http-equiv", "content", "class",
    }  # fmt: skip
    assert encode_id(text) in found.text


@given(st.lists(st.text(), max_size=4))
def test_no_text_adds_a_tag_or_an_attribute(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("page")
    found = read(page([text.encode("utf-8", "replace").decode() for text in texts], folder))

    assert set(found.tags) <= TAGS
    assert not [name for name, _ in found.attributes if name.startswith("on")]


def test_the_page_forbids_everything_from_outside(tmp_path: Path) -> None:
    text = page(["a"], tmp_path)

    assert (
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">" in text
    )
    assert not re.search(r"https?:|//|src=|href=|url\(|@import", text.replace(str(tmp_path), ""))
