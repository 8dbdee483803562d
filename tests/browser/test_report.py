"""The page of a report in a real browser: it renders, answers to the reader, and obeys no text."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from migrate.storage.id_files import encode_id
from reconcile.page.documents import Documents, IdRows
from reconcile.page.render import render_page
from tests.browser.chromium import Page
from tests.reconcile.page.documents import documents_with, report_with, rows_of

pytestmark = pytest.mark.browser

ROWS_MAX = 100  # of the table at once
MANY = 100_000
HOSTILE = [
    "<script>globalThis.owned = 1</script>",
    "</script><script>globalThis.owned = 1</script>",
    "<!--<script>",
    "<img src=x onerror=globalThis.owned=1>",
    '"><svg onload=globalThis.owned=1>',
    "' onfocus='globalThis.owned=1' autofocus='",
    "\u202eright to left\u202c",
    "\x00\x07\x1b[31m\u2028",
    "__proto__",
    "constructor",
    "toString",
    "{{ 7 * 7 }}",
    "`</code><b id=owned>`",
]


def show(page: Page, folder: Path, documents: Documents) -> None:
    """Write the page of these documents, and open it."""
    path = folder / "report.html"
    path.write_text(render_page(documents), encoding="utf-8")
    page.open(path)


def drift_of(missing: Sequence[str], mismatched: Sequence[str]) -> Documents:
    """A report with two classes of drift; each second of the mismatched differs in its values."""
    return replace(
        documents_with(["text"]),
        rows=(rows_of("missing", missing), rows_of("mismatched", mismatched)),
        foreign=frozenset(),
        payloads={},
        differs={
            one: ("values", "metadata.title") if at % 2 else ("metadata.title",)
            for at, one in enumerate(mismatched)
        },
    )


def many() -> Documents:
    """A report of 100,000 ids."""
    half = MANY // 2
    return drift_of(
        [f"file-{at:05d}_{at % 97}" for at in range(half)],
        [f"Other-{at * 7919 % half:05d}_{at % 13}" for at in range(half)],
    )


def ids(page: Page) -> list[str]:
    """The ids in the table."""
    return page.texts(".rows tbody td.code")


def shown(page: Page) -> str:
    """What the page says about the rows that it shows."""
    (text,) = page.texts(".shown")
    return text


def search(page: Page, text: str) -> None:
    """Type into the empty search."""
    page.run("document.querySelector('#search').value = ''")
    page.run("document.querySelector('#search').focus()")
    page.type(text)


@pytest.mark.parametrize("verdict", ["equal", "drift", "indeterminate"])
def test_it_renders_without_a_complaint_and_asks_for_nothing(
    page: Page, tmp_path: Path, verdict: str
) -> None:
    show(page, tmp_path, documents_with(["text"], verdict=verdict))

    assert page.texts("#verdict") == [verdict]
    assert len(page.texts("section > h2")) >= 7
    assert page.run("getComputedStyle(document.querySelector('.verdict')).borderRadius") == "14px"
    assert page.complaints() == []
    assert page.requests() == [(tmp_path / "report.html").as_uri()]


def test_without_a_script_the_first_rows_and_all_sections_are_there(
    page: Page, tmp_path: Path
) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        show(page, tmp_path, drift_of(["a", "b"], ["c"]))
        text = page.call("Page.captureSnapshot")["data"]
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)

    assert all(f">{one}</td>" in text.replace("=\r\n", "") for one in ("a", "b", "c"))


def test_hostile_texts_do_nothing_and_are_shown(page: Page, tmp_path: Path) -> None:
    for text in HOSTILE:
        show(page, tmp_path, documents_with([text]))

        assert page.run("[typeof globalThis.owned, document.querySelector('#owned')]") == [
            "undefined",
            None,
        ]
        assert page.run("document.scripts.length") == 2
        assert page.run("document.querySelectorAll('img').length") == 0
        assert page.complaints() == [], text
        assert page.requests() == [(tmp_path / "report.html").as_uri()]
        line = page.run("document.querySelector('.rows tbody td.code').firstChild.data")
        assert line == encode_id(text)


def test_ids_that_are_names_of_a_script_differ_in_what_they_differ(
    page: Page, tmp_path: Path
) -> None:
    names = ["__proto__", "constructor", "toString", "valueOf"]
    show(page, tmp_path, drift_of(names, ["x"]))

    assert page.texts(".rows tbody tr")[0].endswith("__proto__absent")

    show(page, tmp_path, drift_of([], names))

    assert page.texts(".rows tbody tr")[0].endswith("__proto__metadata.title")
    assert page.complaints() == []


def test_the_search_finds_parts_of_ids_in_any_case(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, drift_of(["Alpha_1", "beta_1"], ["ALPHA_2"]))

    search(page, "alpha")

    assert ids(page) == ["Alpha_1", "ALPHA_2"]
    assert shown(page) == "1 to 2 of 2 that match; 3 in all"

    search(page, "nothing like it")

    assert ids(page) == []
    assert shown(page) == "No id matches."
    assert page.run("document.querySelector('[data-take=copy]').disabled") is True


def test_classes_and_what_differs_are_filters(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, drift_of(["a"], ["b", "c", "d"]))

    page.click(".chip[data-class='1']")
    assert ids(page) == ["b", "c", "d"]

    page.run(
        "const what = document.querySelector('#what'); what.value = 'values';"
        "what.dispatchEvent(new Event('change'))"
    )
    assert ids(page) == ["c"]

    page.click(".chip[data-class='1']")
    page.click(".chip[data-class='0']")
    assert ids(page) == []
    assert page.texts(".chip[aria-pressed=true]") == ["+ missing vectors 1"]


def test_a_click_on_a_head_sorts_and_another_turns_the_order(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, drift_of(["m", "a"], ["z", "b"]))
    assert ids(page) == ["m", "a", "z", "b"]

    page.click("th[data-sort=id] button")
    assert ids(page) == ["a", "b", "m", "z"]
    assert page.run("document.querySelector('th[data-sort=id]').ariaSort") == "ascending"

    page.click("th[data-sort=id] button")
    assert ids(page) == ["z", "m", "b", "a"]

    page.click("th[data-sort=class] button")
    assert ids(page) == ["z", "b", "m", "a"], "different, then missing; as they were within each"


def test_pages_hold_all_rows_once(page: Page, tmp_path: Path) -> None:
    names = [f"id-{at:04d}" for at in range(250)]
    show(page, tmp_path, drift_of(names, []))

    seen = ids(page)
    assert page.run("document.querySelector('[data-page=\"-1\"]').disabled") is True
    for _ in range(2):
        page.click("[data-page='1']")
        seen += ids(page)

    assert seen == names
    assert shown(page) == "201 to 250 of 250"
    assert page.run("document.querySelector('[data-page=\"1\"]').disabled") is True


def test_what_is_copied_and_downloaded_are_all_ids_that_match(page: Page, tmp_path: Path) -> None:
    hostile = ["with space ", "line\nbreak", '"quoted"']
    names = [f"id-{at:04d}" for at in range(250)]
    show(page, tmp_path, drift_of([*names, *hostile], ["other"]))
    expected = "".join(f"{encode_id(one)}\n" for one in [*names, *hostile])
    page.browser.call("Browser.grantPermissions", permissions=["clipboardReadWrite"])
    folder = tmp_path / "downloads"
    page.browser.call(
        "Browser.setDownloadBehavior",
        behavior="allow",
        downloadPath=str(folder),
        eventsEnabled=True,
    )
    page.click(".chip[data-class='0']")

    page.click("[data-take=copy]")
    assert page.texts("[data-take=copy]") == ["Copied 253"]
    assert page.run("navigator.clipboard.readText()") == expected

    page.click("[data-take=download]")
    page.browser.wait_for(
        "Browser.downloadProgress", lambda progress: progress.get("state") == "completed"
    )
    assert (folder / "missing.ids").read_text(encoding="utf-8") == expected
    assert page.complaints() == []


def test_without_a_clipboard_the_older_way_copies(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, drift_of(["one", "two"], []))
    page.browser.call("Browser.grantPermissions", permissions=["clipboardReadWrite"])
    page.run(
        "globalThis.reads = navigator.clipboard.readText.bind(navigator.clipboard);"
        "Object.defineProperty(navigator, 'clipboard', {value: undefined})"
    )

    page.click("[data-take=copy]")

    assert page.run("globalThis.reads()") == "one\ntwo\n"
    assert page.texts("[data-take=copy]") == ["Copied 2"]


def test_typing_over_a_hundred_thousand_ids_puts_few_rows_into_the_document(
    page: Page, tmp_path: Path
) -> None:
    """Work is counted, not time: rows in the document, and rows made for each key."""
    show(page, tmp_path, many())
    page.run(
        "globalThis.made = []; new MutationObserver(changes => made.push("
        "changes.reduce((sum, one) => sum + one.addedNodes.length, 0)))"
        ".observe(document.querySelector('.rows tbody'), {childList: true})"
    )
    assert shown(page) == "1 to 100 of 100,000"

    search(page, "other-0123")

    assert page.run("document.querySelectorAll('.rows tbody tr').length") == 10
    assert shown(page) == "1 to 10 of 10 that match; 100,000 in all"
    made = page.run("globalThis.made")
    assert 0 < len(made) <= len("other-0123")
    assert max(made) <= ROWS_MAX
    assert page.run("document.querySelectorAll('*').length") < 1_000


def test_sorting_a_hundred_thousand_ids_keeps_the_page_small(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, many())

    page.click("th[data-sort=id] button")
    first = ids(page)
    page.click("th[data-sort=id] button")
    last = ids(page)

    assert len(first) == len(last) == ROWS_MAX
    assert first == sorted(first)
    assert first[0].startswith("Other-00000_")
    assert last[0] == "file-49999_44"


def test_a_page_that_does_not_hold_all_ids_says_where_they_are(page: Page, tmp_path: Path) -> None:
    rows = IdRows(name="missing", total=7_000_000, lines=("a",), place="reconcile/001/missing.ids")
    show(page, tmp_path, replace(documents_with(["text"]), rows=(rows,)))

    (text,) = page.texts("#drift > .quiet")
    assert "the first 1 of 7,000,000 missing vectors; all are in reconcile/001/missing.ids" in text


def test_everything_can_be_reached_and_done_by_keyboard(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, drift_of([f"m-{at}" for at in range(150)], ["x"]))
    reached: list[str] = []
    while "Download ids" not in reached and len(reached) < 40:
        page.press("Tab", 9)
        reached.append(
            page.run("document.activeElement.textContent.trim() || document.activeElement.id")
        )
        outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", f"{reached[-1]} does not show that it has the focus"

    assert reached[:4] == ["+ missing vectors 150", "* different vectors 1", "search", reached[3]]
    assert [one for one in reached if one in {"class", "id", "what differs"}] == [
        "class",
        "id",
        "what differs",
    ]
    assert reached[-3:] == ["Next", "Copy ids", "Download ids"]

    page.run("document.querySelector('.chip[data-class=\"1\"]').focus()")
    page.press("Enter", 13, "\r")
    assert ids(page) == ["x"]


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_window(page: Page, tmp_path: Path, width: int) -> None:
    long = "long-" * 40
    page.resize(width, mobile=width == 390)
    show(page, tmp_path, documents_with([long, "b"]))

    assert page.run("document.documentElement.scrollWidth") <= width


def test_on_paper_the_tools_are_left_out(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, drift_of(["a"], ["b"]))

    page.resize(700)  # about the width of a sheet
    page.media(kind="print")

    shows = "getComputedStyle(document.querySelector({})).display"
    assert page.run(shows.format("'.tools'")) == "none"
    assert page.run(shows.format("'.pager'")) == "none"
    assert page.run(shows.format("'.rows'")) == "table"
    assert page.run(shows.format("'.flow.wide'")) == "block"
    assert page.run(shows.format("'.flow.tall'")) == "none"
    assert len(page.call("Page.printToPDF")["data"]) > 10_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("verdict", ["equal", "drift", "indeterminate"])
def test_axe_finds_nothing_serious(
    page: Page, tmp_path: Path, scheme: str, width: int, verdict: str
) -> None:
    page.resize(width, mobile=width == 390)
    page.media(scheme=scheme)
    rows = (rows_of("missing", ["a", "b"]), rows_of("unreadable", ["c"]))
    documents = documents_with(["text"], verdict=verdict)
    show(page, tmp_path, replace(documents, rows=rows))
    page.click(".chip[data-class='0']")

    assert page.serious() == []
    assert page.run(f"matchMedia('(prefers-color-scheme: {scheme})').matches") is True


def test_a_report_of_a_hundred_thousand_ids_is_a_file_that_can_be_sent() -> None:
    assert len(render_page(many()).encode()) < 5_000_000
    assert report_with("t")["verdict"] == "drift"
