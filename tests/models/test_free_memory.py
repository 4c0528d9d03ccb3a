"""Memory that can be had: what is available, within every limit of a control group."""

import os
from pathlib import Path

import pytest
import torch

from hdm_widgets.models.free_memory import free_memory

CPU = torch.device("cpu")
GB = 1 << 30
# Little is wholly free, most is page cache that can be given back: 8 GB are available.
MEMINFO = f"""MemTotal:       {16 * GB // 1024} kB
MemFree:          300000 kB
MemAvailable:    {8 * GB // 1024} kB
Cached:          7000000 kB
HugePages_Total:       0
"""


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def free(root, files):
    write(root, files)
    return free_memory(CPU, proc=root / "proc", cgroups=root / "cgroup")


def v2(folder, limit, current, cache=None, high="max"):
    files = {"memory.max": f"{limit}\n", "memory.high": f"{high}\n", "memory.current": f"{current}\n"}
    if cache is not None:
        files["memory.stat"] = f"anon 5000\nfile 9000\ninactive_file {cache}\nactive_file 12\n"
    return {f"cgroup/{folder}{name}": text for name, text in files.items()}


def v1(folder, limit, usage, cache):
    return {
        f"cgroup/memory/{folder}memory.limit_in_bytes": f"{limit}\n",
        f"cgroup/memory/{folder}memory.usage_in_bytes": f"{usage}\n",
        # The group's own page cache, and that of all groups in it.
        f"cgroup/memory/{folder}memory.stat": f"inactive_file 7\ntotal_inactive_file {cache}\n",
    }


MEMBER_V2 = "0::/user.slice/job\n"
MEMBER_V1 = "5:cpu,cpuacct:/elsewhere\n4:hugetlb,memory:/docker/abc\n1:name=systemd:/\n0::/\n"
UNLIMITED_V1 = 9223372036854771712


@pytest.mark.parametrize(
    ("membership", "limits", "expected"),
    [
        pytest.param(None, {}, 8 * GB, id="no control groups"),
        pytest.param(MEMBER_V2, {}, 8 * GB, id="v2: no limits to be seen"),
        pytest.param(MEMBER_V2, v2("user.slice/job/", "max", 3 * GB), 8 * GB, id="v2: no limit"),
        pytest.param(MEMBER_V2, v2("user.slice/job/", 4 * GB, 3 * GB), 1 * GB, id="v2: limit"),
        pytest.param(MEMBER_V2, v2("user.slice/job/", 4 * GB, 3 * GB, 2 * GB), 3 * GB, id="v2: page cache is free"),
        pytest.param(MEMBER_V2, v2("user.slice/job/", 64 * GB, 3 * GB), 8 * GB, id="v2: limit above what there is"),
        pytest.param(MEMBER_V2, v2("user.slice/job/", 4 * GB, 5 * GB), 0, id="v2: over its limit"),
        pytest.param(MEMBER_V2, v2("user.slice/job/", "max", GB, high=3 * GB), 2 * GB, id="v2: memory.high"),
        pytest.param(
            MEMBER_V2,
            v2("user.slice/job/", 6 * GB, GB) | v2("user.slice/", 5 * GB, 3 * GB, GB),
            3 * GB,
            id="v2: limit of the group around",
        ),
        pytest.param(MEMBER_V2, v2("", 2 * GB, GB), GB, id="v2: a container whose path is the host's"),
        pytest.param("0::/../..\n", v2("", 2 * GB, GB), GB, id="v2: a container with a namespace of its own"),
        pytest.param("0::/job\n", v2("unified/job/", 2 * GB, GB), GB, id="v2: mounted beside v1"),
        pytest.param(MEMBER_V2, v2("other/", 2 * GB, GB), 8 * GB, id="v2: limit of another group"),
        pytest.param(MEMBER_V2, {"cgroup/user.slice/job/memory.max": f"{GB}\n"}, 8 * GB, id="v2: usage unknown"),
        pytest.param(MEMBER_V1, v1("docker/abc/", 4 * GB, 3 * GB, GB), 2 * GB, id="v1: limit"),
        pytest.param(MEMBER_V1, v1("docker/abc/", UNLIMITED_V1, 3 * GB, GB), 8 * GB, id="v1: no limit"),
        pytest.param(
            MEMBER_V1,
            v1("docker/abc/", UNLIMITED_V1, GB, 0) | v1("docker/", 3 * GB, GB, 0),
            2 * GB,
            id="v1: limit of the group around",
        ),
        pytest.param(MEMBER_V1, v1("", 3 * GB, GB, 0), 2 * GB, id="v1: a container whose path is the host's"),
        pytest.param(MEMBER_V1, v1("elsewhere/", 3 * GB, GB, 0), 8 * GB, id="v1: path of another controller"),
        pytest.param("nonsense\n", {}, 8 * GB, id="not to be read"),
    ],
)
def test_memory_within_the_limits_of_control_groups(tmp_path, membership, limits, expected):
    files = {"proc/meminfo": MEMINFO} | limits
    if membership is not None:
        files["proc/self/cgroup"] = membership
    assert free(tmp_path, files) == expected


@pytest.mark.parametrize(
    ("sysconf", "expected"),
    [
        (lambda name: {"SC_AVPHYS_PAGES": 5000, "SC_PAGE_SIZE": 4096}[name], 5000 * 4096),
        (lambda name: int(name), 2 * GB),
        (None, 2 * GB),
    ],
    ids=["free pages", "unknown name", "no such function"],
)
def test_other_systems(tmp_path, monkeypatch, sysconf, expected):
    if sysconf is None:
        monkeypatch.delattr("os.sysconf")
    else:
        monkeypatch.setattr("os.sysconf", sysconf)
    assert free(tmp_path, {}) == expected
    # A limit counts there too, if there is one.
    limited = v2("", 1000, 900)
    assert free(tmp_path, {"proc/self/cgroup": "0::/\n"} | limited) == 100


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="no /proc here")
def test_this_machine_has_no_more_than_is_built_in():
    assert 0 < free_memory(CPU) <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_gpu_tells_what_the_driver_has_and_what_pytorch_keeps_in_reserve(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * GB, 8 * GB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 4 * GB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: GB)
    assert free_memory(torch.device("cuda", 0)) == 6 * GB
