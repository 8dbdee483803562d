"""The specification of the stand-in."""
