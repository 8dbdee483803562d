"""Render a page: the same documents give the same bytes.

All text is escaped: characters that a reader would not see, or that turn the direction of the text,
are shown by their code. The page loads nothing. Its Content-Security-Policy allows one script and
one style, each by its digest.
"""

import base64
import hashlib
import re
import textwrap
from functools import cache

import jinja2
from markupsafe import Markup, escape

from migrate.mapping.kv_entries import COUNTER_MEANING
from migrate.model.limits import REQUESTS_PER_WINDOW_MAX
from reconcile.page import drift, words
from reconcile.page.curve import curve_of
from reconcile.page.documents import Documents
from reconcile.page.flow import VECTORS, draw, stations_of
from reconcile.page.timeline import timeline_of

_CODE = re.compile(r"`([^`]*)`")


def render_page(documents: Documents) -> str:
    """The HTML page of these documents."""
    stations, branch = stations_of(documents)
    script, style = _own("page.js"), _own("page.css")
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            documents=documents,
            report=documents.report,
            kind=words.kind_of(documents),
            title=words.title_of(documents),
            facts=words.facts_of(documents),
            verdict=words.verdict_of(documents),
            gate_verdict=None if documents.gate is None else words.of_gate(documents),
            moment=words.moment,
            period=words.period,
            stations=stations,
            branch=branch,
            moved=next((one.count for one in stations if one.unit == VECTORS), None),
            unread_in_words=words.unread_of(documents.report),
            flows=[draw(stations, branch, tall=tall) for tall in (False, True)],
            counter_meaning=COUNTER_MEANING,
            words_of=drift.words_of,
            first_rows=drift.first_rows(documents),
            differing=drift.what_differs(documents),
            rows=Markup(drift.encode_rows(documents)),  # noqa: S704 - escaped by encode_data
            parities=[(parity, curve_of(parity)) for parity in documents.parity],
            timeline=timeline_of(documents),
            requests_max=REQUESTS_PER_WINDOW_MAX,
            script=Markup(script),  # noqa: S704 - a file of this package
            style=Markup(style),  # noqa: S704 - a file of this package
            script_digest=_digest(script),
            style_digest=_digest(style),
        )
        + "\n"
    )


def render_with_style(template: str, **values: object) -> str:
    """The page of a template that has the style of every page, and no script."""
    style = _own("page.css")
    rendered = (
        _environment()
        .get_template(template)
        .render(
            style=Markup(style),  # noqa: S704 - a file of this package
            style_digest=_digest(style),
            **values,
        )
    )
    return f"{rendered}\n"


def visible(value: object) -> object:
    """A text with every character that would not be seen as its code; anything else as it is."""
    if isinstance(value, Markup) or not isinstance(value, str) or value.isprintable():
        return value
    return "".join(char if char.isprintable() else _code(char) for char in value)


def _code(char: str) -> str:
    return " " if char == "\n" else f"\\u{ord(char):04x}"


def in_lines(text: str, most: float, lines: int) -> list[str]:
    """A text in lines of at most `most` characters, for a drawing; what is cut is spoken."""
    found = textwrap.wrap(text, int(most), max_lines=lines, placeholder=" …")
    if found == ["…"]:  # its first word alone is too long
        return [f"{text[: int(most) - 1]}…"]
    return found or [""]


def with_commands(text: str) -> Markup:
    """Text in which what stands in backquotes is set as a command."""
    parts = _CODE.split(str(visible(text)))
    pieces = [
        Markup("<code>{}</code>").format(part) if at % 2 else escape(part)
        for at, part in enumerate(parts)
    ]
    return Markup("").join(pieces)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reconcile.page", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["commands"] = with_commands
    environment.filters["in_lines"] = in_lines
    environment.filters["count"] = lambda number: f"{number:,}"
    return environment


def _own(name: str) -> str:
    """A file of this package, as it is."""
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0]


def _digest(text: str) -> str:
    """A source of a Content-Security-Policy."""
    sha256 = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(sha256).decode()}"
