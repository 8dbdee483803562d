"""Read one store completely and compare it with what the run expects there."""
