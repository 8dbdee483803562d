"""The report of a reconcile: JSON, HTML, and the statement sealed beside it."""
