"""What a scan may be told, checked before any work starts."""

from __future__ import annotations

from typing import Literal

from hdm_widgets._arguments import is_whole
from hdm_widgets.hdm.inference import Ways

__all__ = ["Distance", "check_channel", "check_distance", "check_region", "check_ways"]

Distance = Literal["hausdorff", "rows"]


def check_channel(channel: object, channels: int) -> int:
    """-1 for all channels, or the index of one."""
    if not is_whole(channel):
        raise TypeError(f"channel must be a whole number, got {channel!r}")
    if not -1 <= channel < channels:
        raise ValueError(f"channel must be -1 (all) or 0 to {channels - 1} for this picture, got {channel}")
    return int(channel)


def check_distance(distance: object) -> Distance:
    """One of the distances by name."""
    if distance not in ("hausdorff", "rows"):
        raise ValueError(
            f"distance must be 'hausdorff' or 'rows', got {distance!r}; for your own, override calculate_distance"
        )
    return distance


def check_region(region: object, height: int, width: int) -> tuple[int, int, int, int]:
    """A half-open box (row0, col0, row1, col1) with pixels of the picture in it."""
    if not isinstance(region, (tuple, list)) or len(region) != 4:
        raise TypeError(f"region must be (row0, col0, row1, col1), got {region!r}")
    if not all(is_whole(edge) for edge in region):
        raise TypeError(f"region must be four whole numbers, got {region!r}")
    row0, col0, row1, col1 = (int(edge) for edge in region)
    if not (0 <= row0 < row1 <= height and 0 <= col0 < col1 <= width):
        raise ValueError(
            f"region (row0, col0, row1, col1) must satisfy 0 <= row0 < row1 <= {height} and "
            f"0 <= col0 < col1 <= {width}, got {region!r}"
        )
    return row0, col0, row1, col1


def check_ways(inference: object) -> Ways:
    """One of the ways of computing outputs by name."""
    if inference not in ("auto", "windowed", "full"):
        raise ValueError(f"inference must be 'auto', 'windowed' or 'full', got {inference!r}")
    return inference
