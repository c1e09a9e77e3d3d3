"""The experiments of the presentation that weightgpt continues, repeated part by part and joined into one page."""
