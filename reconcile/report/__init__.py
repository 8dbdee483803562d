"""The report of a reconcile: JSON, HTML, and the in-toto statement beside it.

The HTML page is loaded when it is rendered: every command knows the report, and few write one.
"""

from typing import TYPE_CHECKING

from migrate.lazy_names import load_when_used

if TYPE_CHECKING:
    from reconcile.report.page import render_page as render_page

load_when_used(__name__, {"render_page": "reconcile.report.page"})
