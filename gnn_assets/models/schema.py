"""Tables of the models stage."""

import polars as pl

from gnn_assets.store.schema import Table

OOS_PREDICTIONS = Table(
    name="oos_predictions",
    columns={
        "version": pl.String,
        "model": pl.String,
        "fold": pl.Int16,
        "session": pl.Date,
        "symbol": pl.String,
        "score": pl.Float32,
        "training_end": pl.Date,
    },
    key=("model", "session", "symbol"),
    descriptions={
        "version": "gnn_weights version the score comes from",
        "model": "candidate, its ablation without graph, or a baseline",
        "fold": "walk-forward fold whose training ended before this session",
        "score": "unitless; higher means a higher expected return",
        "training_end": "last session any label used by this fold's training or choice was known at",
    },
)
