"""The site of `make site` in a real browser: every page fits, search finds, nothing leaves."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typing_extensions import override

from tests.browser.chromium import Page
from tests.docs.test_site import build
from tools.site import lay_out

pytestmark = pytest.mark.browser

NARROW, WIDE = 390, 1280
SEARCHED, SEARCH_INDEX = "/searched", "/search/search_index.json"
# Of each kind of content one page: tables, code, lists, long names, drawings, nothing.
OF_EACH_KIND = (
    "404.html",
    "index.html",
    "RUNBOOK.html",
    "docs/tutorial.html",
    "docs/settings.html",
    "docs/file-stores.html",
    "docs/formats.html",
    "docs/api.html",
    "benchmarks/RESULTS.html",
)
LARGE = ("RUNBOOK.html", "docs/formats.html", "docs/api.html")  # seconds of CPU each time
# The addresses of what is found, once the worker of the search has answered.
FOUND = """new Promise(done => {
  const links = () => [...document.querySelectorAll(".md-search-result__link")];
  const found = () => links().map(link => link.href);
  const look = () => found().length ? done(found()) : requestAnimationFrame(look);
  look();
})"""
LIGHTNESS = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing.

    A browser makes the index of the search at every page again, in half a second of CPU. Only
    below `SEARCHED` it gets what it needs for that; elsewhere it is told that no page is to be
    found.
    """

    @override
    def do_GET(self) -> None:
        """A file, or the shorter list of what can be found."""
        if self.path.startswith(SEARCHED):
            self.path = self.path.removeprefix(SEARCHED)
        elif self.path.endswith(SEARCH_INDEX):
            self._send_empty_index()
            return
        super().do_GET()

    def _send_empty_index(self) -> None:
        index = json.loads(Path(self.translate_path(self.path)).read_bytes())
        content = json.dumps({**index, "docs": []}).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Each request would be a line."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site."""
    folder = tmp_path_factory.mktemp("site")
    lay_out(folder / "pages")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where it is served, on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "one_in",
    [
        pytest.param(5, id="one in five decisions"),
        pytest.param(1, id="every decision", marks=pytest.mark.search),
    ],
)
def test_every_page_fits_into_a_telephone_and_asks_no_other_server(
    page: Page, site: Path, address: str, one_in: int
) -> None:
    page.resize(NARROW, mobile=True)
    paths = [path.relative_to(site) for path in sorted(site.rglob("*.html"))]
    decisions = [path for path in paths if path.parent.name == "decisions"]
    others = [path for path in paths if path.parent.name != "decisions"]
    assert len(decisions) > 60
    assert len(others) > 30
    for path in [*others, *decisions[::one_in]]:
        page.visit(f"{address}/{path}")
        page.settle()

        assert page.run("document.documentElement.scrollWidth") <= NARROW, path
        assert page.complaints() == [], path
        foreign = [one for one in page.requests() if not one.startswith((address, "data:"))]
        assert foreign == [], path


@pytest.mark.parametrize(
    ("path", "scheme", "width"),
    [
        *((path, "dark", WIDE) for path in OF_EACH_KIND),
        *(
            pytest.param(path, "light", NARROW, marks=[pytest.mark.search] if path in LARGE else [])
            for path in OF_EACH_KIND
        ),
    ],
)
def test_axe_finds_nothing_serious(
    page: Page, address: str, path: str, scheme: str, width: int
) -> None:
    page.resize(width, mobile=width == NARROW)
    page.media(scheme=scheme)
    page.visit(f"{address}/{path}")
    page.settle()

    assert page.serious() == []


def test_the_site_is_as_dark_as_the_reader_asks_for(page: Page, address: str) -> None:
    shown = {}
    for scheme in ("light", "dark"):
        page.media(scheme=scheme)
        page.visit(f"{address}/index.html")
        shown[scheme] = sum(page.run(LIGHTNESS))

    assert shown["light"] > 3 * 200
    assert shown["dark"] < 3 * 60


def test_the_search_finds_a_word_of_another_page(page: Page, address: str) -> None:
    page.visit(f"{address}{SEARCHED}/index.html")
    page.run("document.querySelector('input.md-search__input').focus()")
    page.type("decommission")
    found = page.run(FOUND)

    assert "RUNBOOK.html" in "".join(found)
    assert page.complaints() == []
    assert [one for one in page.requests() if not one.startswith((address, "data:"))] == []
