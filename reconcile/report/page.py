"""The HTML page of a reconcile's report."""

from functools import cache
from itertools import islice

import jinja2

from migrate.mapping.kv_entries import COUNTER_MEANING
from migrate.storage.folder import StoredFile
from reconcile.naming import named_lines
from reconcile.report.report import ReconcileReport

LISTED_ON_PAGE_MAX = 50


def render_page(report: ReconcileReport) -> str:
    """The HTML page. All data is escaped; the page has no script and loads nothing."""
    shown = {name: _first_lines(file) for name, file in report.files.items()}
    return _template().render(
        report=report,
        document=report.document(),
        shown=shown,
        differs=named_lines(report.differs),
        counter_meaning=COUNTER_MEANING,
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reconcile.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.jinja")


def _first_lines(stored: StoredFile) -> list[str]:
    with stored.open_to_read() as file:
        return [line.decode().rstrip("\n") for line in islice(file, LISTED_ON_PAGE_MAX)]
