"""Digits, from gray images to new gray images: the pipeline in the plane."""
