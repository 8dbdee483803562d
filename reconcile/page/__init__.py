"""The page: one HTML file about a reconcile or a whole run, made of the JSON documents beside it.

What the page says is in those documents; nothing is read from a store, and no figure is computed a
second time. The page is loaded when it is rendered: every command knows the report, and few write
one. Decision 0063.
"""

from typing import TYPE_CHECKING

from migrate.lazy_names import load_when_used

if TYPE_CHECKING:
    from reconcile.page.accepted import is_parity as is_parity
    from reconcile.page.accepted import is_preflight as is_preflight
    from reconcile.page.documents import Documents as Documents
    from reconcile.page.documents import NextStep as NextStep
    from reconcile.page.fleet import render_fleet as render_fleet
    from reconcile.page.gather import of_reconcile as of_reconcile
    from reconcile.page.gather import of_run as of_run
    from reconcile.page.payloads import payloads_of as payloads_of
    from reconcile.page.render import render_page as render_page
    from reconcile.page.words import verdict_of as verdict_of

load_when_used(
    __name__,
    {
        "is_parity": "reconcile.page.accepted",
        "is_preflight": "reconcile.page.accepted",
        "Documents": "reconcile.page.documents",
        "NextStep": "reconcile.page.documents",
        "of_reconcile": "reconcile.page.gather",
        "of_run": "reconcile.page.gather",
        "payloads_of": "reconcile.page.payloads",
        "render_fleet": "reconcile.page.fleet",
        "render_page": "reconcile.page.render",
        "verdict_of": "reconcile.page.words",
    },
)
