"""How texts stand on a terminal: width, columns, colours."""
