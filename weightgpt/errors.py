"""The error for a mistake that the caller can correct."""


class InputError(ValueError):
    """A caller's mistake: one sentence that says what was given, what is allowed and what to do."""
