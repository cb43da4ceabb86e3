"""Strategies, one file each: `target_weights(scores_N, config) -> weights_N`."""
