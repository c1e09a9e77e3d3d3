"""Benchmarks: how fast shapes and fields become tokens."""
