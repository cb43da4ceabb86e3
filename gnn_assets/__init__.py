"""Markets as assets: bars, correlation graphs, trained networks, backtests and forecasts, dated and checked.

    universe ─► market_bars ─► returns ─► correlation_graphs ─► gnn_weights ─► oos_predictions ─► portfolio_returns
                                  │               │                  ▲                                  │
                                  │               ▼                  ┊ an order                         ▼
                                  │        graph_statistics          ┊      champion ◄── backtest_scores, score_cards
                                  │                                  ┊        │
                                  ├─► graph_drift ─────┬─► retrain_decision   ├─► mlflow_mirror
                                  │      model_drift ──┤                      ▼
                                  └────────────────────┴── forecast_scores ◄── forecasts, served_forecasts

What is above is asked for when something above it changes; the weights only when the decision orders them.

In a notebook: ``from gnn_assets import load; load("forecasts")``.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from gnn_assets.notebook import card, catalog, load, sql, verify

__all__ = ["__version__", "card", "catalog", "load", "sql", "verify"]


def __getattr__(name: str) -> Any:
    """Loads the notebook functions on first use, so that importing the package stays cheap."""
    if name in __all__:
        import importlib

        return getattr(importlib.import_module("gnn_assets.notebook"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
