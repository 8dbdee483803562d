"""Single demands on whole commands, each over a snapshot that is written for it."""
