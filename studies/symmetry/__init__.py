"""What the order of neurons does to tokens."""
