"""In the place of a disk, a clock or a store: what a test controls."""
