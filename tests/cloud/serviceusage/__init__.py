"""Service Usage: which APIs are enabled in the project."""
