"""The baselines of weightgpt: other ways to learn and to generate fields, at the same budget of operations."""
