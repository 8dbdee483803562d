"""The text that messages quote of a page: what a reader of the page sees, once."""

import pytest

from migrate.transport.answer_words import words_of

NGINX = (
    "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n"
    "<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx/1.24.0</center>\r\n"
    "</body>\r\n</html>\r\n"
)


@pytest.mark.fault("N08")
@pytest.mark.parametrize(
    ("page", "words"),
    [
        (NGINX, "404 Not Found nginx/1.24.0"),
        ("<html><TITLE lang=en>Oh &amp; no</TITLE><h1>Oh & <b>no</b></h1>x", "Oh & no x"),
        ("<html><title>Sign in</title><body>Password", "Sign in Password"),
        ("<html><title>Err</title><body>Error 1020", "Err Error 1020"),
        ("<html><title>Just a moment...</title></html>", "Just a moment..."),
        ("<html><title></title><body>Down</body></html>", "Down"),
        ("<html><title>Half", "Half"),
    ],
)
def test_a_title_that_the_page_repeats_is_shown_once(page: str, words: str) -> None:
    assert words_of(page.encode()) == words


def test_a_text_that_is_no_page_is_shown_as_it_is() -> None:
    assert words_of(b"a <title>x</title>  x") == "a <title>x</title> x"
