"""The stages of a migration, one `run()` each, returning a report."""
