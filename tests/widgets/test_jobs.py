import subprocess
import sys
import threading

import pytest

from hdm_widgets.widgets.shared.jobs import LatestJob, released


def threads_named(name):
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_a_job_runs_in_a_thread_of_that_name():
    worker, seen = LatestJob("job-name"), []
    worker.submit(lambda stop: seen.append((threading.current_thread().name, stop.is_set())))
    assert worker.wait(30)
    assert seen == [("job-name", False)]
    assert worker.wait(0)


def test_the_thread_ends_with_the_work():
    worker = LatestJob("job-ends")
    for _ in range(3):
        go = threading.Event()
        worker.submit(lambda stop, go=go: go.wait(30))
        (thread,) = threads_named("job-ends")
        assert thread.daemon
        assert not worker.wait(0)
        go.set()
        assert worker.wait(30)
        thread.join(30)
        assert threads_named("job-ends") == []


def test_a_newer_job_stops_the_one_that_runs():
    worker, order, begun = LatestJob("job"), [], threading.Event()

    def old(stop):
        begun.set()
        assert stop.wait(30)
        order.append("old stopped")

    worker.submit(old)
    assert begun.wait(30)
    worker.submit(lambda stop: order.append(f"new, stop {stop.is_set()}"))
    assert worker.wait(30)
    assert order == ["old stopped", "new, stop False"]


def test_only_the_newest_of_those_that_wait_runs():
    worker, ran, begun = LatestJob("job"), [], threading.Event()

    def old(stop):
        begun.set()
        stop.wait(30)
        submitted.wait(30)

    submitted = threading.Event()
    worker.submit(old)
    assert begun.wait(30)
    for number in range(5):
        worker.submit(lambda stop, number=number: ran.append(number))
    submitted.set()
    assert worker.wait(30)
    assert ran == [4]


def test_cancel_stops_the_job_and_forgets_the_next():
    worker, ran, begun = LatestJob("job"), [], threading.Event()

    def old(stop):
        begun.set()
        stop.wait(30)
        cancelled.wait(30)

    cancelled = threading.Event()
    worker.submit(old)
    assert begun.wait(30)
    worker.submit(lambda stop: ran.append("next"))
    worker.cancel()
    cancelled.set()
    assert worker.wait(30)
    assert ran == []
    worker.submit(lambda stop: ran.append("later"))  # a cancelled worker takes new work
    assert worker.wait(30)
    assert ran == ["later"]


def test_wait_tells_whether_it_still_runs():
    worker, go = LatestJob("job"), threading.Event()
    assert worker.wait(0)
    worker.submit(lambda stop: go.wait(30))
    assert not worker.wait(0)
    go.set()
    assert worker.wait(30)


@pytest.mark.parametrize("timeout", [0, 30])
def test_a_job_does_not_wait_for_itself(timeout):
    worker, waited = LatestJob("job"), []
    worker.submit(lambda stop: waited.append(worker.wait(timeout)))
    assert worker.wait(60)
    assert waited == [True]


def test_jobs_do_not_wait_for_each_other():
    workers, waited, begun = [LatestJob("job") for _ in range(3)], [], threading.Barrier(3)

    def waits_for(other):
        def job(stop):
            begun.wait(30)
            waited.append(other.wait(30))

        return job

    for worker, other in zip(workers, workers[1:] + workers[:1], strict=True):
        worker.submit(waits_for(other))
    assert all(worker.wait(60) for worker in workers)
    assert waited == [True] * 3


@pytest.mark.parametrize("times", [0, 1, 3])
def test_a_lock_is_released_for_others_and_taken_again(times):
    lock, taken = threading.RLock(), []

    def take():
        taken.append(lock.acquire(blocking=False))
        if taken[-1]:
            lock.release()

    def elsewhere():
        thread = threading.Thread(target=take)
        thread.start()
        thread.join(30)

    for _ in range(times):
        lock.acquire()
    with released(lock):
        elsewhere()
    elsewhere()
    for _ in range(times):
        lock.release()
    elsewhere()
    assert taken == [True, times == 0, True]
    with pytest.raises(RuntimeError):
        lock.release()


def test_a_closed_worker_stops_and_takes_no_more():
    worker, stopped = LatestJob("job"), []
    worker.submit(lambda stop: stopped.append(stop.wait(30)))
    worker.close()
    assert worker.wait(30)
    assert stopped in ([True], [])  # the job may have been closed before it began
    with pytest.raises(RuntimeError, match="closed"):
        worker.submit(lambda stop: None)


def test_a_job_that_fails_is_reported_and_leaves_a_worker_that_works(monkeypatch):
    reports, reported = [], threading.Event()

    def report(failure):
        reports.append(failure.exc_type)
        reported.set()

    monkeypatch.setattr(threading, "excepthook", report)
    worker, ran = LatestJob("job"), []
    worker.submit(lambda stop: 1 / 0)
    assert worker.wait(30)
    assert reported.wait(30)
    assert reports == [ZeroDivisionError]
    worker.submit(lambda stop: ran.append("next"))
    assert worker.wait(30)
    assert ran == ["next"]


def test_the_end_of_the_process_stops_a_running_job_and_waits_for_it():
    code = """if True:
        from hdm_widgets.widgets.shared.jobs import LatestJob

        running = []

        def job(stop):
            running.append(stop)
            stop.wait(30)
            print("stopped", stop.is_set())

        worker = LatestJob("job-exit")
        worker.submit(job)
        while not running:
            pass
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped True\n", "")


def test_no_job_runs_on_when_the_process_ends():
    """Neither one that never looks at its event, nor one inside a model, nor one that catches an interruption."""
    code = """if True:
        import os
        import threading
        import torch
        from hdm_widgets.widgets.shared.jobs import LatestJob

        torch.set_num_threads(1)
        begun = threading.Barrier(7)
        model = torch.nn.Conv2d(1, 1, 3)

        caught = []

        def catch_the_first():
            try:
                while True:
                    torch.zeros(3) + 1
            except BaseException as error:
                if caught:
                    raise
                caught.append(error)

        def endless(name, work, lock):
            def job(stop):
                begun.wait()
                try:
                    with lock:
                        while True:
                            work()
                finally:
                    os.write(1, f"{name} ended\\n".encode())  # both may write at once

            return job

        works = {"sums": lambda: torch.zeros(3) + 1, "model": lambda: model(torch.zeros(1, 1, 4, 4))}
        for name, work in {**works, "catch": catch_the_first}.items():
            lock = threading.Lock()
            # Nobody knows these any more: an explorer may be closed and forgotten before its job ends.
            LatestJob("first").submit(endless(name, work, lock))
            LatestJob("second").submit(endless(name, work, lock))
        begun.wait()
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == [
        f"{name} ended" for name in ("catch", "model", "sums") for _ in range(2)
    ]


def test_no_job_begins_when_the_process_ends():
    code = """if True:
        import atexit

        def late():
            try:
                LatestJob("late").submit(print)
            except RuntimeError as error:
                print(error)

        atexit.register(late)  # the handler that was registered first runs last
        from hdm_widgets.widgets.shared.jobs import LatestJob
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "the process ends\n", "")
