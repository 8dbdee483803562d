"""What runs beside the work: its log, the form of its progress, programs at its end."""
