"""Commands that only read: what a move would meet, what is kept here, what a word means."""
