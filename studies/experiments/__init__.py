"""Which settings of the GPT and of its sampling improve the samples."""
