"""`q2v plan`: the target is asked, every point is checked, and one screen says what came of it."""
