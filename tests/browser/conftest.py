"""One browser for all tests of a worker; a tab shows one file after the other."""

from collections.abc import Iterator

import pytest

from tests.browser.chromium import Page, opened_page


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The tab, as the test before left it."""
    with opened_page(tmp_path_factory.mktemp("browser") / "profile") as page:
        yield page


@pytest.fixture
def page(tab: Page) -> Iterator[Page]:
    """The tab at 1,280 pixels, light, on a screen. It is left empty: a page keeps a core busy."""
    tab.resize(1280)
    tab.media()
    yield tab
    tab.visit("about:blank")
