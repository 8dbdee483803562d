"""Go or no-go: each success criterion with its evidence, the age of that, and a verdict."""
