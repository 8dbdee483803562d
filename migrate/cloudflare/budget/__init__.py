"""How many requests may be sent, and when the last of them is answered."""
