"""What the order of neurons changes in tokens."""
