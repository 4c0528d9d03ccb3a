"""The HDM explorer."""
