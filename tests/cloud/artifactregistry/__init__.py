"""Artifact Registry: repositories."""
