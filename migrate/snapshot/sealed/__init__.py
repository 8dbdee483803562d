"""What is done with a sealed snapshot: check all of it, and put a damaged part in place again."""
