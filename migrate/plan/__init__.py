"""The decisions of a run, frozen before the first write: what moves and how long it takes."""
