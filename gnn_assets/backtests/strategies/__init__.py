"""Strategies, one file each.

A strategy is a module with

    NEEDS: what it reads: scores, returns, or fields of the bars such as volume; without them it is refused
    SIGNED: whether it sells short
    target_weights(signals, rows_R, *, config) -> weights_RxN

and, where it holds the best-ranked scores, with `picks(config)`, by which the engine makes the same weights as it goes.

Weights are shares of the portfolio's value: finite, at most `config.max_weight` each, long and short together at most
one (`long_short`: its exposure); the rest is cash. At least zero unless SIGNED. The rows come in order; a row's weights
depend on the signals up to it, on the rows given before it and on the configuration, and on nothing else. A name of
which a row does not know what the strategy needs is not held.
"""
