"""Faults of images, one a file: each changes a name of function/endpoint.py when it is imported, and nothing else.

An image with a fault has this folder beside its own modules, and one more line in function/main.py.
"""
