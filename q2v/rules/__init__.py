"""What the settings mean to the library: the rules of its stages, and which data they are about."""
