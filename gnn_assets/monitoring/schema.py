"""Tables of the monitoring stage."""

import polars as pl

from gnn_assets.store.schema import Table

MODEL_DRIFT = Table(
    name="model_drift",
    columns={
        "session": pl.Date,
        "kind": pl.String,
        "version": pl.String,
        "value": pl.Float64,
        "limit": pl.Float64,
        "window": pl.String,
        "offenders": pl.String,
        "reference_first": pl.Date,
        "reference_last": pl.Date,
        "inputs_hash": pl.String,
    },
    key=("session", "kind", "version"),
    descriptions={
        "session": "session at whose close this was known; after the end of the champion's data",
        "kind": "feature_drift, prediction_drift or residual_drift",
        "version": "gnn_weights version of the champion",
        "value": "largest distance from the reference over what chance passes (unitless), or risen sum of losses "
        "(deviations of the reference); null while it is not known",
        "limit": "what chance passes at the stated rate, in the value's unit; null where the reference is too short",
        "window": "what the value was measured over, in words",
        "offenders": "what is behind an alarm, the worst first, with semicolons between; empty without one",
        "reference_first": "first session of the reference; null without one",
        "reference_last": "last session of the reference; null without one",
        "inputs_hash": "hash of all that went in up to the session, and of the code and settings; equal: nothing to redo",
    },
)
