"""Memory that a run frees is taken again without new pages of the system."""

import os
import platform
import subprocess
import sys

import pytest

# Prints how many pages the system hands out for blocks of growing sizes that are freed and taken again.
CODE = """
import resource
import torch
from hdm_widgets.models.evaluation import evaluating

def take_and_free(size):
    blocks = [torch.ones(size) for _ in range(3)]

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

with evaluating(torch.nn.ReLU()):
    for size in (1_000_000, 1_500_000, 2_000_000, 2_500_000):
        for _ in range(10):
            take_and_free(size)
        before = pages()
        for _ in range(20):
            take_and_free(size)
        print(pages() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep freed memory by other rules")
def test_freed_memory_is_kept_while_a_model_is_in_use():
    # Who sets glibc's bounds in the environment keeps them: here it decides by itself.
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=own)
    assert max(int(line) for line in done.stdout.split()) < 1_000
