"""What others answer in the place of the service: an edge, a proxy, a login page.

None of it has the form of the API. The pages are short renderings of what such programs send.
"""

from sandbox.messages import Response

HTML = "text/html; charset=UTF-8"
TEXT = "text/plain; charset=UTF-8"


def _page(status: int, title: str, text: str) -> Response:
    page = (
        f"<!DOCTYPE html>\n<html><head><title>{title}</title><style>b{{color:red}}</style></head>"
        f"<body><h1>{title}</h1><p>{text}</p></body></html>\n"
    )
    return Response(status, page.encode(), HTML)


# In this order, over and over.
PAGES = (
    Response(403, b"error code: 1010", TEXT),
    _page(403, "Access denied", "This website is using a security service. Error code: 1020"),
    _page(404, "404 Not Found", "nginx"),
    _page(400, "400 Bad Request", "The plain HTTP request was sent to HTTPS port"),
    _page(407, "Proxy Authentication Required", "Cache Access Denied. squid"),
    _page(200, "Sign in", "Accept the terms of use to reach the internet."),
    _page(401, "Authorization Required", "Please sign in to the proxy."),
    Response(404, b'{"error": "no such service", "path": "/client/v4"}'),
    _page(511, "Network Authentication Required", "You need to log in."),
    _page(522, "Connection timed out", "Error 522"),
)


def page_of_others(ordinal: int) -> Response:
    """The page of this number; they come in turns."""
    return PAGES[(ordinal - 1) % len(PAGES)]
