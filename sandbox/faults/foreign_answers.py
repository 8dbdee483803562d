"""Answers of other programs in place of the service: an edge, a proxy, a login page.

None has the form of the API. The pages are shortened forms of what such programs send.
"""

from collections.abc import Callable
from functools import partial

from starlette.responses import Response

from sandbox.exchange.answers import HTML, JSON, page

TEXT = "text/plain; charset=UTF-8"


def _titled(status: int, title: str, text: str) -> Response:
    html = (
        f"<!DOCTYPE html>\n<html><head><title>{title}</title><style>b{{color:red}}</style></head>"
        f"<body><h1>{title}</h1><p>{text}</p></body></html>\n"
    )
    return page(status, html.encode(), HTML)


# Sent in this order, repeatedly.
PAGES: tuple[Callable[[], Response], ...] = (
    partial(page, 403, b"error code: 1010", TEXT),
    partial(
        _titled, 403, "Access denied", "This website is using a security service. Error code: 1020"
    ),
    partial(_titled, 404, "404 Not Found", "nginx"),
    partial(_titled, 400, "400 Bad Request", "The plain HTTP request was sent to HTTPS port"),
    partial(_titled, 407, "Proxy Authentication Required", "Cache Access Denied. squid"),
    partial(_titled, 200, "Sign in", "Accept the terms of use to reach the internet."),
    partial(_titled, 401, "Authorization Required", "Please sign in to the proxy."),
    partial(page, 404, b'{"error": "no such service", "path": "/client/v4"}', JSON),
    partial(_titled, 511, "Network Authentication Required", "You need to log in."),
    partial(_titled, 522, "Connection timed out", "Error 522"),
)


def page_of_others(ordinal: int) -> Response:
    """The page with this number, from 1; after the last page the first follows."""
    return PAGES[(ordinal - 1) % len(PAGES)]()
