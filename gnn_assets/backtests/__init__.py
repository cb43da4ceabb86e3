"""Backtests: what the scores would have earned, net of costs, and how sure that is.

Key inputs: `oos_predictions`, `returns`; never weights. Key outputs: `portfolio_returns`, `backtest_scores`.
Known when: a portfolio holds from the fill after a session what was scored at that session's close.
"""
