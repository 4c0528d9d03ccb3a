"""Exact windowed inference: compute only what a local change of a picture changes in a network's output."""
