"""Artifact Registry's images: folders that are named by their content."""
