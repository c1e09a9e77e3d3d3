"""The error that a caller can mend."""


class InputError(ValueError):
    """A caller's mistake: the message says what was given, what is allowed and what to do, in one sentence."""
