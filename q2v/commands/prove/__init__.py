"""What compares, checks, and says how things stand."""
