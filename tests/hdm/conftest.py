"""What several tests of scans look at."""

import pytest

from hdm_widgets.windowed import WindowedInference


@pytest.fixture
def windows(monkeypatch):
    """Counts the discs that are computed in windows."""
    counted = []
    run = WindowedInference.run

    def counting(self, boxes, *arguments):
        counted.append(len(boxes))
        return run(self, boxes, *arguments)

    monkeypatch.setattr(WindowedInference, "run", counting)
    return counted
