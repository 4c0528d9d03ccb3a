"""Settings for all tests."""

import matplotlib
from hypothesis import settings

# Figures are drawn to memory: no window system is there, and none is wanted.
matplotlib.use("agg")

# A busy machine may stall any single example; the same examples every time keep a failure repeatable.
settings.register_profile("steady", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steady")
