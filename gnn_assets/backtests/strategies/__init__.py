"""Strategies, one file each: `target_weights(scores_N, *, config) -> weights_N`.

Weights are shares of the portfolio's value: finite, at least zero, at most one together; the rest is cash. A session's
weights depend on that session's scores and the configuration, and on nothing else.
"""
