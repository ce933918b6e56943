"""One file per request format: each reads a body into a Call, and renders an Answered in its own shape."""
