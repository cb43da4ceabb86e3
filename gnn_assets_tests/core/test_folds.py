from collections import Counter
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import TimeSeriesSplit

from gnn_assets.core.config import build_config
from gnn_assets.core.errors import ConfigError
from gnn_assets.core.folds import combinatorial_purged, walk_forward

lengths = st.fixed_dictionaries(
    {
        "first": st.integers(0, 40),
        "train": st.integers(1, 60),
        "validation": st.integers(1, 20),
        "test": st.integers(1, 30),
        "purge": st.integers(1, 12),
        "embargo": st.integers(0, 6),
    }
)
extra = st.integers(1, 150)


def lead(shape):
    return shape["train"] + shape["validation"] + 2 * (shape["purge"] + shape["embargo"])


def folds_of(shape, sessions_to_test):
    return walk_forward(shape["first"] + lead(shape) + sessions_to_test, **shape)


@given(lengths, extra)
def test_the_last_label_of_a_part_is_known_before_the_next_part_begins(shape, count):
    for fold in folds_of(shape, count):
        for earlier, later in ((fold.train, fold.validation), (fold.validation, fold.test)):
            known_at = earlier[-1] + shape["purge"]
            assert known_at + shape["embargo"] < later[0]
            # Not one session more is given away than the purge and the embargo ask for.
            assert known_at + shape["embargo"] + 1 == later[0]


@given(lengths, extra)
def test_tests_tile_the_axis_from_the_first_possible_session_to_the_last(shape, count):
    folds = folds_of(shape, count)
    tested = [session for fold in folds for session in fold.test]
    first = shape["first"] + lead(shape)
    assert tested == list(range(first, first + count))
    assert [fold.number for fold in folds] == list(range(len(folds)))
    assert all(len(fold.test) == shape["test"] for fold in folds[:-1])


@given(lengths, extra)
def test_parts_keep_their_lengths_and_stay_on_sessions_with_features(shape, count):
    for fold in folds_of(shape, count):
        assert (len(fold.train), len(fold.validation)) == (shape["train"], shape["validation"])
        assert fold.train[0] >= shape["first"]
        assert fold.train[-1] < fold.validation[0] <= fold.validation[-1] < fold.test[0]


@given(lengths, extra, st.integers(0, 100))
def test_later_sessions_change_no_earlier_fold(shape, count, more):
    before, after = folds_of(shape, count), folds_of(shape, count + more)
    assert after[: len(before) - 1] == before[:-1]
    same = after[len(before) - 1]
    assert (same.train, same.validation) == (before[-1].train, before[-1].validation)
    assert list(same.test)[: len(before[-1].test)] == list(before[-1].test)


@given(lengths, st.integers(2, 6))
def test_agrees_with_scikit_learns_splitter_where_tests_are_whole(shape, n_folds):
    folds = folds_of(shape, n_folds * shape["test"])
    gap = shape["purge"] + shape["embargo"]
    splitter = TimeSeriesSplit(
        n_splits=n_folds,
        test_size=shape["test"],
        gap=gap,
        max_train_size=shape["train"] + gap + shape["validation"],
    )
    splits = list(splitter.split(range(folds[-1].test[-1] + 1)))
    assert [list(test) for _, test in splits] == [list(fold.test) for fold in folds]
    # Its one training part spans our training part, the gap after it and our validation part.
    assert [list(past) for past, _ in splits] == [list(range(fold.train[0], fold.validation[-1] + 1)) for fold in folds]


@given(lengths)
def test_one_test_session_is_enough_and_none_is_refused_with_the_remedy(shape):
    assert len(folds_of(shape, 1)) == 1
    with pytest.raises(
        ConfigError, match=r"models.folds: expected at most \d+ sessions .*; shorten models.folds.train"
    ):
        folds_of(shape, 0)


cuts = st.fixed_dictionaries(
    {
        "first": st.integers(0, 30),
        "groups": st.integers(3, 7),
        "tested": st.integers(2, 3),
        "purge": st.integers(0, 8),
        "embargo": st.integers(0, 5),
    }
).filter(lambda cut: cut["tested"] < cut["groups"])
over = st.integers(0, 60)


def combinatorial_of(cut, spare):
    """Folds of the shortest axis that can be cut so, and a bit more."""
    shortest = cut["groups"] * (cut["purge"] + cut["embargo"] + 2)
    return combinatorial_purged(cut["first"] + shortest + spare, **cut)


@given(cuts, over)
@settings(max_examples=40)
def test_no_training_label_meets_the_label_window_of_a_tested_session(cut, spare):
    purge, embargo = cut["purge"], cut["embargo"]
    for fold in combinatorial_of(cut, spare):
        for test in fold.tests:
            before, after = fold.train[fold.train < test[0]], fold.train[fold.train > test[-1]]
            # A label of session s is known at s + purge: strictly before the test begins ...
            assert (before + purge < test[0]).all()
            # ... and the last tested label and the embargo are over before training goes on.
            assert (after > test[-1] + purge + embargo).all()
            assert not set(test) & set(fold.train.tolist())


@given(cuts, over)
@settings(max_examples=40)
def test_not_one_session_more_is_given_away(cut, spare):
    folds = combinatorial_of(cut, spare)
    sessions = {session for test in folds[0].tests + folds[-1].tests for session in test} | {
        session for fold in folds for test in fold.tests for session in test
    }
    for fold in folds:
        tested = {session for test in fold.tests for session in test}
        dropped = {
            session
            for test in fold.tests
            for session in (
                *range(test[0] - cut["purge"], test[0]),
                *range(test[-1] + 1, test[-1] + 1 + cut["purge"] + cut["embargo"]),
            )
        }
        assert set(fold.train.tolist()) == sessions - tested - dropped


@given(cuts, over)
@settings(max_examples=40)
def test_every_session_is_tested_equally_often_and_once_on_every_path(cut, spare):
    folds = combinatorial_of(cut, spare)
    assert len(folds) == comb(cut["groups"], cut["tested"])
    times = Counter(session for fold in folds for test in fold.tests for session in test)
    n_paths = comb(cut["groups"] - 1, cut["tested"] - 1)
    assert set(times.values()) == {n_paths}
    assert min(times) == cut["first"]
    for number in range(n_paths):
        on_path = [
            session
            for fold in folds
            for test, path in zip(fold.tests, fold.paths, strict=True)
            if path == number
            for session in test
        ]
        assert sorted(on_path) == sorted(times)


@given(cuts)
@settings(max_examples=20)
def test_agrees_with_another_library_on_what_trains(cut):
    import pandas as pd
    from purgedcv import CombinatorialPurgedCV

    # It takes labels as half-open spans: one that ends where the next begins does not overlap there.
    cut = {**cut, "first": 0}
    folds = combinatorial_of(cut, 0)
    length = cut["groups"] * (cut["purge"] + cut["embargo"] + 2)
    days = pd.Series(pd.date_range("2020-01-01", periods=length, freq="D"))
    splitter = CombinatorialPurgedCV(
        n_splits=cut["groups"],
        n_test_groups=cut["tested"],
        prediction_times=days,
        evaluation_times=days + pd.Timedelta(days=cut["purge"] + 1),
        embargo_observations=cut["purge"] + cut["embargo"],
    )
    others = list(splitter.split(np.empty((length, 1))))
    assert [fold.train.tolist() for fold in folds] == [train.tolist() for train, _ in others]


@pytest.mark.parametrize(("sessions", "groups", "tested"), [(70, 10, 2), (0, 10, 2), (500, 2, 2), (500, 5, 1)])
def test_groups_too_short_or_too_few_are_refused_with_the_remedy(sessions, groups, tested):
    with pytest.raises(
        ConfigError, match=r"backtests.combinatorial: expected .*; lower backtests.combinatorial.groups"
    ):
        combinatorial_purged(sessions, first=0, groups=groups, tested=tested, purge=6, embargo=0)


def test_a_cut_that_leaves_nothing_to_train_on_is_refused_in_the_configuration():
    with pytest.raises(ConfigError, match=r"tested must be below backtests.combinatorial.groups \(4\), was 4"):
        build_config("test", {"backtests": {"combinatorial": {"groups": 4, "tested": 4}}})
