"""Points over REST, byte for byte as the server wrote them."""
