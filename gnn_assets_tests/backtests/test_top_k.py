import numpy as np
import pytest

from gnn_assets.backtests.signals import Signals
from gnn_assets.backtests.strategies.top_k import target_weights
from gnn_assets.core.config import build_config

CONFIG = build_config("test", {"backtests": {"held": 2}}).backtests


def weights(*rows, **changed):
    scores_TxN = np.array(rows)
    config = CONFIG.model_copy(update=changed)
    return target_weights(Signals(scores_TxN, None), np.arange(len(rows)), config=config).tolist()


def test_the_highest_scores_are_held_in_equal_parts():
    assert weights([0.1, 0.9, -3.0, 0.5]) == [[0, 0.5, 0, 0.5]]


def test_equal_scores_at_the_edge_are_taken_in_index_order():
    assert weights([1.0, 2.0, 1.0, 1.0]) == [[0.5, 0.5, 0, 0]]


def test_scores_that_are_all_equal_hold_everybody_who_has_one():
    assert weights([7.0, np.nan, 7.0, 7.0]) == [[1 / 3, 0, 1 / 3, 1 / 3]]


def test_with_fewer_scores_than_places_all_of_them_are_held():
    assert weights([np.nan, 4.0, np.inf]) == [[0, 1, 0]]


def test_without_a_score_everything_stays_cash():
    assert weights([np.nan, -np.inf]) == [[0, 0]]


def test_what_is_above_the_cap_stays_cash():
    assert weights([3.0, 2.0, 1.0], max_weight=0.4) == [[0.4, 0.4, 0]]


@pytest.mark.parametrize(("hysteresis", "second"), [(0.0, [0.5, 0, 0.5, 0]), (0.5, [0.5, 0.5, 0, 0])])
def test_a_held_name_stays_until_its_rank_falls_beyond_the_limit(hysteresis, second):
    # The second name falls from rank two to three, then to four: beyond 2 x 1.5 places.
    rows = [4.0, 3.0, 2.0, 1.0], [4.0, 2.0, 3.0, 1.0], [4.0, 1.0, 3.0, 2.0]
    assert weights(*rows, hysteresis=hysteresis) == [[0.5, 0.5, 0, 0], second, [0.5, 0, 0.5, 0]]


def test_of_more_names_held_than_places_the_best_stay():
    # All four are held after scores that are all equal.
    assert weights([1.0] * 4, [1.0, 4.0, 3.0, 2.0], hysteresis=9.0) == [[0.25] * 4, [0, 0.5, 0.5, 0]]
