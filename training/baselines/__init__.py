"""The rivals of weightgpt: other ways to learn and to draw fields, at the same budget of floating-point operations."""
