"""Answers requests: everything the image runs, and nothing of how a model came to be."""

__version__ = "0.1.0"
