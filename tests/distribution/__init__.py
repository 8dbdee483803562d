"""What pip installs: the wheels of the project."""
