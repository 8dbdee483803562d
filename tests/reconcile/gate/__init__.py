"""Go or no-go."""
