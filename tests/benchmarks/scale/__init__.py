"""The arithmetic of large moves, its page, and the simulation that checks it."""
