"""Programs for the work on the project; none is installed."""
