"""What commands show on a terminal, kept as files that a person has read."""
