"""A snapshot in progress: its ranges, what is known of it, and how a part gets its place."""
