"""The site of `make site` has every page, its links lead somewhere, it loads nothing foreign."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typing_extensions import override

from tests.harness.running.programs import run_program
from tools.site import ROOT, lay_out, pages, widen_lists

LOADING = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}
# Words that a link of these kinds has no request for: it only names an address.
NAMES_ONLY = {"canonical", "next", "prev"}


class Loaded(HTMLParser):
    """The addresses that a browser asks for when it opens a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get(LOADING.get(tag, ""))
        if address and given.get("rel") not in NAMES_ONLY:
            self.addresses.append(address)


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the pages in `folder`/pages into `folder`/site, as `make site` does."""
    return run_program(
        *(sys.executable, "-m", "mkdocs", "build", "--strict"),
        *("--config-file", ROOT / "docs" / "mkdocs.yml", "--site-dir", folder / "site"),
        cwd=ROOT,
        env={**os.environ, "SITE_PAGES": str(folder / "pages"), "NO_MKDOCS_2_WARNING": "1"},
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    lay_out(folder / "pages")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.mark.slow  # so is each that builds the site
def test_every_page_is_in_the_site(site: Path) -> None:
    written = [page.relative_to(ROOT) for page in pages(ROOT) if page.suffix == ".md"]
    places = [
        page.with_name("index.html") if page.name == "README.md" else page.with_suffix(".html")
        for page in written
    ]

    assert len(places) > 90
    assert [str(place) for place in places if not (site / place).is_file()] == []


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    found: dict[str, list[str]] = {}
    for page in site.rglob("*.html"):
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert loaded.addresses, page
        foreign = [each for each in loaded.addresses if re.match(r"(?:[a-z]+:)?//", each)]
        if foreign:
            found[page.name] = foreign
    styles = [style.read_text(encoding="utf-8") for style in site.rglob("*.css")]

    assert found == {}
    assert styles
    assert [style[:80] for style in styles if re.search(r"url\([\"']?(?:https?:)?//", style)] == []


@pytest.mark.slow
def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path) -> None:
    lay_out(tmp_path / "pages")
    page = tmp_path / "pages" / "docs" / "trust.md"
    page.write_text(
        page.read_text(encoding="utf-8") + "\n[a](nowhere.md) [b](security.md#nowhere)\n",
        encoding="utf-8",
    )

    done = build(tmp_path)

    assert done.returncode != 0
    assert "'nowhere.md'" in done.stderr
    assert "'#nowhere'" in done.stderr


def test_what_is_inside_a_list_item_gets_four_blanks_a_level() -> None:
    text = (
        "Words:\n* one\n  more\n  - inner\n\n    deep\n\n  ```\n  * code\n    x\n  ```\n"
        "\n1. first\n   more\n"
    )

    assert widen_lists(text) == (
        "Words:\n\n* one\n    more\n    - inner\n\n        deep\n\n    ```\n    * code\n      x\n"
        "    ```\n\n1. first\n    more\n"
    )


def test_code_and_tables_outside_of_lists_stay_as_they_are() -> None:
    text = "```\n* a\n  b\n```\n\n| a |\n|---|\n| b |\n\n  two blanks\n"

    assert widen_lists(text) == text
