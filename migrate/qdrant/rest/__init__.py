"""Read points over REST."""
