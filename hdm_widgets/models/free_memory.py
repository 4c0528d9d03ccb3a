"""Memory that a computation can have, on this machine or within the limits of its container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import torch

__all__ = ["free_memory"]

# Assumed where the system tells nothing.
_UNKNOWN = 2 << 30


def free_memory(device: torch.device, *, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that can be allocated on a device now.

    Parameters
    ----------
    device : torch.device
        On a CUDA device: what the driver has free and what PyTorch holds in reserve. On any other: the host's memory.
    proc, cgroups : pathlib.Path
        Where Linux shows its processes and its control groups.

    Returns
    -------
    int

    Notes
    -----
    On Linux the host's memory is `MemAvailable` of /proc/meminfo (the page cache counts as free), or less where a
    control group that the process is in, or one around it, leaves less below its limit. Both versions of control
    groups are read; the page cache that a group can give back (`inactive_file`) counts as free. Other systems tell
    their free pages (`SC_AVPHYS_PAGES`), or nothing, as macOS and Windows: then 2 GiB are assumed.
    """
    if device.type == "cuda":
        reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + reserve
    kilobytes = _table(proc / "meminfo").get("MemAvailable:")
    available = _free_pages() if kilobytes is None else 1024 * kilobytes
    return max(0, min([available, *_left_by_cgroups(proc / "self" / "cgroup", cgroups)]))


def _free_pages() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, AttributeError, OSError):  # no such figure on this system
        return _UNKNOWN


def _left_by_cgroups(membership: Path, cgroups: Path) -> Iterator[int]:
    """What each memory limit that applies to the process leaves, in bytes."""
    for line in _lines(membership):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            # On a hybrid system, version 2 is mounted in a folder of its own.
            for root in (cgroups, cgroups / "unified"):
                for group in _groups(root, path):
                    for limit in ("memory.max", "memory.high"):
                        yield from _left(group, limit, "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            for group in _groups(cgroups / "memory", path):
                yield from _left(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _groups(root: Path, path: str) -> Iterator[Path]:
    """The folder of a control group and of all groups around it.

    Inside a container the path may be one of the host's, of which only the root is mounted.
    """
    inner = PurePosixPath(*(part for part in path.split("/") if part not in ("", "..")))
    for group in (inner, *inner.parents):
        yield root / group


def _left(group: Path, limit: str, usage: str, reclaimable: str) -> Iterator[int]:
    most, used = _number(group / limit), _number(group / usage)
    if most is not None and used is not None:
        yield most - used + _table(group / "memory.stat").get(reclaimable, 0)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _number(path: Path) -> int | None:
    """The only number in a file; None for a missing file and for "max", which means no limit."""
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isdecimal() else None


def _table(path: Path) -> dict[str, int]:
    """Names and whole numbers of a file with one of each a line."""
    words = (line.split() for line in _lines(path))
    return {line[0]: int(line[1]) for line in words if len(line) > 1 and line[1].isdecimal()}
