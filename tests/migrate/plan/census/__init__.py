"""How sizes are spread, and which limit meets what."""
