from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from gnn_assets.graphs.one_thread import one_thread

LIBRARIES = ThreadpoolController().select(user_api="blas")


def threads():
    """Of every library that works with matrices."""
    return {library["num_threads"] for library in LIBRARIES.info()}


@pytest.fixture(autouse=True)
def _two_threads():
    assert np.linalg.svd(np.eye(2))[1].tolist() == [1, 1]
    with threadpool_limits(limits=2, user_api="blas"):
        yield
        assert threads() == {2}


def test_inside_there_is_one_thread_and_afterwards_as_many_as_before():
    with one_thread():
        assert threads() == {1}
        with one_thread():
            assert threads() == {1}
        assert threads() == {1}
    assert threads() == {2}


def test_a_worker_has_one_thread_too_where_the_main_thread_set_the_number():
    def inside():
        with one_thread():
            return threads()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(inside).result() == {1}
    assert threads() == {2}


def test_an_error_inside_gives_the_threads_back():
    with pytest.raises(ValueError, match="inside"), one_thread():
        raise ValueError("inside")
    assert threads() == {2}


def test_whoever_leaves_first_divides_nobody_s_matrices_and_the_last_gives_the_threads_back():
    entered, left = Event(), Event()

    def stays():
        with one_thread():
            entered.set()
            assert left.wait(timeout=60)
            return threads()

    with ThreadPoolExecutor(1) as pool:
        with one_thread():
            told = pool.submit(stays)
            assert entered.wait(timeout=60)
        left.set()
        assert told.result() == {1}
    assert threads() == {2}
