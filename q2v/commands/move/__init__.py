"""What reads the source and writes the target."""
