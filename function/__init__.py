"""Answers requests: everything the image runs, and nothing of how a model came to be."""
