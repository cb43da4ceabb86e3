import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import TimeSeriesSplit

from gnn_assets.core.errors import ConfigError
from gnn_assets.core.folds import walk_forward

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
