"""Work side by side: threads that keep the order, processes that use a second core."""
