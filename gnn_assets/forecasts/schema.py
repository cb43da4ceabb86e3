"""Tables of the forecasts stage."""

from dataclasses import replace

import polars as pl

from gnn_assets.store.schema import Table

FORECASTS = Table(
    name="forecasts",
    columns={
        "session": pl.Date,
        "symbol": pl.String,
        "horizon": pl.Int16,
        "score": pl.Float32,
        "expected_return": pl.Float64,
        "lower": pl.Float64,
        "upper": pl.Float64,
        "rank": pl.Int32,
        "target_start": pl.Date,
        "target_end": pl.Date,
        "champion": pl.String,
        "graph_session": pl.Date,
        "source": pl.String,
        "served_by": pl.String,
        "degraded": pl.Boolean,
        "status": pl.String,
        "verdict": pl.String,
        "card_id": pl.String,
    },
    key=("session", "symbol", "horizon"),
    schema_version=2,
    descriptions={
        "session": "last close the forecast used",
        "horizon": "sessions from fill to the end of the target",
        "score": "unitless; higher means a higher expected return",
        "expected_return": "log return from fill to target end, calibrated on out-of-sample predictions only",
        "lower": "lower end of the prediction interval (log return)",
        "upper": "upper end of the prediction interval (log return)",
        "rank": "1 for the highest score of the session",
        "target_start": "session of the fill",
        "target_end": "session at whose fill price the target ends",
        "champion": "gnn_weights version that was served",
        "source": "whose bars the symbol's newest return is from",
        "served_by": "model and part of the weights that scored: its refit, or the fold that had not seen the session; "
        "`untrained` for a baseline that was served without the weights",
        "degraded": "True: not by a champion that the gate or a person chose, but by a former one that the platform went "
        "back to for a fault, or by a baseline in the champion's place; null in what releases before this column served",
        "status": "ok; stale: older than the limit, whoever serves; degraded: fresh, and not by the chosen champion",
        "verdict": "verdict on the champion when it was published",
        "card_id": "the forecast's card: everything needed to recompute it bit for bit",
    },
)

# What was served at each session: FORECASTS holds the newest session, and past ones made anew by the present champion.
SERVED_FORECASTS = replace(FORECASTS, name="served_forecasts", monthly=True)
# As releases before the column `degraded` kept it: read once more, to be carried over.
SERVED_BEFORE_DEGRADED = replace(
    SERVED_FORECASTS,
    columns={name: dtype for name, dtype in FORECASTS.columns.items() if name != "degraded"},
    descriptions={name: said for name, said in FORECASTS.descriptions.items() if name != "degraded"},
    schema_version=1,
)

FORECAST_SCORES = Table(
    name="forecast_scores",
    columns={
        "session": pl.Date,
        "symbol": pl.String,
        "horizon": pl.Int16,
        "version": pl.String,
        "served": pl.Boolean,
        "score": pl.Float32,
        "expected_return": pl.Float64,
        "lower": pl.Float64,
        "upper": pl.Float64,
        "realised": pl.Float64,
        "error": pl.Float64,
        "hit": pl.Boolean,
        "covered": pl.Boolean,
        "ic_share": pl.Float64,
        "target_end": pl.Date,
    },
    key=("session", "symbol", "horizon", "version"),
    descriptions={
        "session": "last close the forecast used",
        "horizon": "sessions from fill to the end of the target",
        "version": "gnn_weights version that scored: champion, challenger or retired; `<model>/<version>` for a baseline that "
        "stood in for that champion",
        "served": "whether this is what was served; what was not is what the version would have said",
        "score": "unitless; higher means a higher expected return",
        "expected_return": "log return from fill to target end, as it was forecast; null for a score without calibration",
        "lower": "lower end of the prediction interval (log return); null likewise",
        "upper": "upper end of the prediction interval (log return); null likewise",
        "realised": "log return from fill to target end; null until it is known, and where a price is missing",
        "error": "realised less expected return (log return); null where either is",
        "hit": "whether score and outcome are on the same side of their session's means; null where one is at its mean",
        "covered": "whether the outcome fell inside the prediction interval, its ends included; null without either",
        "ic_share": "the symbol's part of the session's IC: shares of a version's session add up to it (unitless)",
        "target_end": "session at whose fill the outcome is known",
    },
    monthly=True,
)
