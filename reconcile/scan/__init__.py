"""Read one store whole and compare it with what the run expects there."""
