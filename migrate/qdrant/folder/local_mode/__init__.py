"""Read a collection of the Python client's local mode: SQLite with a pickled point in each row."""
