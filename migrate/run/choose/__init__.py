"""Which snapshot and which run a command works on, and whether they are those of the settings."""
