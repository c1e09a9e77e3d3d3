"""Programs with an optimiser over a corpus."""
