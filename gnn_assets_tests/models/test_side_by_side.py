from threading import Event, Thread, current_thread

import pytest

from gnn_assets.models.side_by_side import side_by_side


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
