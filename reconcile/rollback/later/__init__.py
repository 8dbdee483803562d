"""Later writes: what others wrote to the target since the run; find, export and compare them."""
