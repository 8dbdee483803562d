"""How long, how much and how many at sizes that this machine does not reach."""
