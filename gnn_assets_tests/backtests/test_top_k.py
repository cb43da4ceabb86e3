import numpy as np

from gnn_assets.backtests.strategies.top_k import target_weights
from gnn_assets.core.config import build_config

CONFIG = build_config("test", {"backtests": {"held": 2}}).backtests


def test_the_highest_scores_are_held_in_equal_parts():
    np.testing.assert_array_equal(target_weights(np.array([0.1, 0.9, -3.0, 0.5]), config=CONFIG), [0, 0.5, 0, 0.5])


def test_equal_scores_at_the_edge_are_taken_in_index_order():
    np.testing.assert_array_equal(target_weights(np.array([1.0, 2.0, 1.0, 1.0]), config=CONFIG), [0.5, 0.5, 0, 0])


def test_scores_that_are_all_equal_hold_everybody_who_has_one():
    np.testing.assert_array_equal(
        target_weights(np.array([7.0, np.nan, 7.0, 7.0]), config=CONFIG), [1 / 3, 0, 1 / 3, 1 / 3]
    )


def test_with_fewer_scores_than_places_all_of_them_are_held():
    np.testing.assert_array_equal(target_weights(np.array([np.nan, 4.0, np.inf]), config=CONFIG), [0, 1, 0])


def test_without_a_score_everything_stays_cash():
    np.testing.assert_array_equal(target_weights(np.array([np.nan, -np.inf]), config=CONFIG), [0, 0])
