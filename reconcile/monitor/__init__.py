"""Watch the target after the cutover: do its parts agree with each other? Decision 0044."""
