"""The report of a reconcile: JSON, and the in-toto statement beside it."""
