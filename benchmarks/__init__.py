"""Scripts that print one table; results are quoted with machine, date and data size."""
