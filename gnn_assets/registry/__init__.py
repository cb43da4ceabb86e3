"""Registry: which weights are served, and why.

Key inputs: `gnn_weights`, `backtest_scores`. Key output: `champion`, a pointer moved only by the gate.
Known when: the gate judges sessions that are out of sample for candidate and champion alike.
"""
