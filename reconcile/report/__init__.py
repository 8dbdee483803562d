"""The report of a reconcile: JSON, HTML, and the in-toto statement beside it."""
