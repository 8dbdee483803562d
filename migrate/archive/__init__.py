"""One file that holds the snapshot chain of a run and all of its runs, and how to check it."""
