"""The rehearsal's source data."""
