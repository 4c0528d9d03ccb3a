"""What tests of running scans use: a model that they hold back, and the threads of explorers."""

import threading

SECONDS = 60

# Calls of a model before any disc: the image, the same again, and a variant of it alone and in a batch.
BEFORE = 4


def first(images):
    return images[:, 0]


class Gate:
    """A model that waits at every batch after the first until it is let through.

    Parameters
    ----------
    output : callable
        From a batch of images (N, C, H, W) to what the model returns.
    """

    def __init__(self, output=first):
        self.calls = 0
        self.arrived, self.open = threading.Semaphore(0), threading.Semaphore(0)
        self.output = output

    def __call__(self, images):
        self.calls += 1
        self.arrived.release()
        assert self.open.acquire(timeout=SECONDS)
        return self.output(images)

    def let(self, batches):
        """Let so many batches through, then wait until the model holds the next."""
        for _ in range(batches):
            self.open.release()
        for _ in range(batches):
            assert self.arrived.acquire(timeout=SECONDS)

    def begin(self):
        assert self.arrived.acquire(timeout=SECONDS)

    def free(self):
        self.open.release(10_000)

    def hold(self):
        """Hold the next batch, after all that came were let through."""
        for semaphore in (self.open, self.arrived):
            while semaphore.acquire(blocking=False):
                pass


def workers():
    return [thread for thread in threading.enumerate() if thread.name == "hdm-explorer"]


def gone():
    """Whether the threads of all explorers have ended."""
    for thread in workers():
        thread.join(SECONDS)
    return workers() == []
