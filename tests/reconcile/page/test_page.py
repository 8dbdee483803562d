"""A page shows texts and never obeys them, loads nothing, and has the same bytes every time."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from migrate.storage.id_files import encode_id
from reconcile.page.documents import Documents
from reconcile.page.render import render_page
from tests.reconcile.page.documents import documents_with

pytestmark = pytest.mark.fault("X06")

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</pre><script src=//evil.example></script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "<!--",
    "<!--<script>",
    "&lt;script&gt;",
    "`</code><b onclick=alert(1)>`",
    "\x1b[31mred\x00\u202e\u2028\u2066",
    "<style>@import 'https://evil.example'</style>",
    '<meta http-equiv="refresh" content="0;url=https://evil.example">',
]
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "class", "id", "type", "role", "hidden",
    "title", "scope", "value", "for", "autocomplete", "spellcheck", "start",
    "viewbox", "width", "height", "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "d",
    "stroke-width", "tabindex",
}  # fmt: skip


class Reader(HTMLParser):
    """The tags, attributes and texts that a browser would find in the page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.scripts: list[str] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "script":
            self.scripts.append("")

    @override
    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.scripts:
            self.scripts[-1] += data
        else:
            self.text += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


def _fixed_tags(page: Reader) -> list[str]:
    """The tags but those of each command in a text, and of each line in a drawing."""
    return [tag for tag in page.tags if tag not in {"code", "text"}]


PLAIN = read(render_page(documents_with(["plain"])))


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_text_is_shown_and_not_obeyed(text: str) -> None:
    found = read(render_page(documents_with([text])))

    assert _fixed_tags(found) == _fixed_tags(PLAIN)
    assert found.tags.count("script") == 2
    names = {name for name, _ in found.attributes}
    assert {name for name in names if not name.startswith(("aria-", "data-"))} <= ATTRIBUTES
    assert encode_id(text) in found.text


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=4))
def test_no_text_adds_a_tag_or_an_attribute(texts: list[str]) -> None:
    found = read(render_page(documents_with(texts)))

    assert set(found.tags) <= set(PLAIN.tags) | {"code"}
    assert not [name for name, _ in found.attributes if name.startswith("on")]


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=4))
def test_a_reader_sees_every_character_that_turns_or_hides_text(texts: list[str]) -> None:
    text = render_page(documents_with(texts))

    assert all(char.isprintable() or char == "\n" for char in text)


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=4))
def test_the_rows_are_data_that_a_script_reads_back(texts: list[str]) -> None:
    data = json.loads(read(render_page(documents_with(texts))).scripts[0])

    assert list(map(encode_id, texts)) == data["classes"][0]["ids"]


def test_the_page_forbids_everything_from_outside() -> None:
    text = render_page(documents_with(["a"]))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    style = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)

    assert policy is not None
    assert policy[1].replace("&#39;", "'") == (
        f"default-src 'none'; script-src '{_source(script)}'; style-src '{_source(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"https?:|src=|href=|url\(|@import", text)
    assert " style=" not in text


def _source(texts: list[str]) -> str:
    (text,) = texts
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def test_the_same_documents_give_the_same_bytes() -> None:
    texts = [f"id-{number}" for number in range(50)]

    assert render_page(documents_with(texts)) == render_page(documents_with(texts))


def test_a_page_can_be_made_of_any_one_document() -> None:
    whole = documents_with(["text"])
    alone = [
        Documents(manifest=whole.manifest, plan=whole.plan),
        Documents(manifest=whole.manifest, plan=whole.plan, report=whole.report),
        Documents(gate={**(whole.gate or {}), "journal_sha256": "another"}),
        Documents(parity=whole.parity),
        Documents(preflight=whole.preflight),
    ]

    pages = [read(render_page(documents)) for documents in alone]

    assert all(set(page.tags) <= set(PLAIN.tags) | {"code"} for page in pages)
    assert "no-go, outdated" in pages[2].text
