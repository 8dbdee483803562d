"""What a plan shows of a whole set: how its sizes are spread, and which limit meets what."""
