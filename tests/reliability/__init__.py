"""Faults of the whole product: programs that count them, tests, and the page that lists them."""
