"""One collection over several vector indexes."""
