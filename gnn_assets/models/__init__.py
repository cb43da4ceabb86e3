"""Models: from features and graphs to out-of-sample scores.

Key inputs: `returns`, `correlation_graphs`. Key outputs: `gnn_weights`, `oos_predictions`.
Known when: a fold's scores come from weights whose last label was known before the fold's first session.
"""
