"""Files of older versions."""
