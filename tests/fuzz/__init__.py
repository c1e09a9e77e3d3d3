"""Mutated files of every format that is read: each must be refused in one sentence, or accepted without harm."""
