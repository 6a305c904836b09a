"""Real peers for tests: backends that answer byte for byte, and an edge in front of them."""
