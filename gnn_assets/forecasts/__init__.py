"""Forecasts: the champion's view of the next sessions, each with a card that recomputes it.

Key inputs: `champion`, `correlation_graphs`, `returns`, `oos_predictions`. Key output: `forecasts`.
Known when: at the session's close plus grace; calibration uses only outcomes known by then.
"""
