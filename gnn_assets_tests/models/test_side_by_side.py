from threading import Barrier, Event, Thread, current_thread

import pytest

from gnn_assets.models.side_by_side import side_by_side as _side_by_side


def side_by_side(jobs, *, progress, workers=3):
    return _side_by_side(jobs, workers=workers, progress=progress)


def test_results_keep_the_order_of_the_jobs():
    assert side_by_side([lambda _: 1, lambda _: 2, lambda _: 3], progress=lambda *_: None) == [1, 2, 3]


def test_jobs_run_at_the_same_time():
    first, second = Event(), Event()

    def meet(mine, other):
        def job(report):
            mine.set()
            return other.wait(timeout=60)

        return job

    assert side_by_side([meet(first, second), meet(second, first)], progress=lambda *_: None) == [True, True]


def test_progress_is_the_mean_share_told_on_the_callers_thread():
    told: list[tuple[float, str, Thread]] = []

    def job(report):
        report(0.5, "half")
        report(1.0, "done")

    side_by_side([job, job], progress=lambda share, text: told.append((share, text, current_thread())))
    assert sorted(share for share, _, _ in told) in ([0.25, 0.5, 0.75, 1.0], [0.25, 0.5, 0.5, 1.0])
    assert told[-1][0] == 1.0
    assert {thread for _, _, thread in told} == {current_thread()}


def test_a_failing_job_ends_the_others_at_their_next_report():
    ended = Event()

    def endless(report):
        try:
            while True:
                report(0.0, "still here")
        finally:
            ended.set()

    def failing(report):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        side_by_side([endless, failing], progress=lambda *_: None)
    assert ended.is_set()


def test_an_interrupted_caller_ends_the_jobs():
    ended = Event()

    def endless(report):
        try:
            while True:
                report(0.0, "still here")
        finally:
            ended.set()

    def interrupt(share, text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side_by_side([endless], progress=interrupt)
    assert ended.is_set()


def test_no_more_jobs_run_at_once_than_there_are_workers():
    running, most = [], []

    def job(report):
        running.append(1)
        most.append(len(running))
        Event().wait(0.02)
        running.pop()

    side_by_side([job] * 5, workers=2, progress=lambda *_: None)
    assert max(most) <= 2
    assert len(most) == 5


def test_after_a_failure_jobs_that_wait_never_start():
    started = []

    def failing(report):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        side_by_side([failing, *[started.append] * 50], workers=1, progress=print)
    assert started == []


def test_what_is_raised_is_the_failure_and_not_what_it_ended():
    running = Barrier(2)

    def endless(report):
        running.wait()
        while True:
            report(0.0, "still here")

    def failing(report):
        running.wait()
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        side_by_side([endless, failing], workers=2, progress=lambda *_: None)
