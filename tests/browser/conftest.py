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
def page(tab: Page) -> Page:
    """The tab at 1,280 pixels, light, on a screen."""
    tab.resize(1280)
    tab.media()
    return tab
