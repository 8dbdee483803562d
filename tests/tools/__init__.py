"""The programs of tools/, which work on the project and are not installed."""
