"""Tables of the graphs stage."""

import polars as pl

from gnn_assets.store.schema import Table

CORRELATION_GRAPHS = Table(
    name="correlation_graphs",
    columns={
        "session": pl.Date,
        "src": pl.String,
        "rank": pl.Int16,
        "dst": pl.String,
        "corr": pl.Float32,
        "overlap": pl.Int16,
    },
    key=("session", "src", "rank"),
    descriptions={
        "session": "last session of the trailing window",
        "rank": "0 for the neighbour with the largest |corr|; ties by symbol order",
        "corr": "pairwise-complete Pearson correlation of log returns over the window",
        "overlap": "sessions of the window on which both have a return",
    },
    monthly=True,
)

GRAPH_STATISTICS = Table(
    name="graph_statistics",
    columns={
        "session": pl.Date,
        "data_end": pl.Date,
        "symbols": pl.Int32,
        "density": pl.Float64,
        "degree_min": pl.Int32,
        "degree_mean": pl.Float64,
        "degree_max": pl.Int32,
        "churn": pl.Float64,
        "spectral_distance": pl.Float64,
    },
    key=("session",),
    descriptions={
        "data_end": "last session any return of the window comes from",
        "density": "share of ordered symbol pairs that are edges",
        "degree_mean": "mean number of out-neighbours",
        "churn": "Jaccard distance of the edge set to the session before's; null for the first session",
        "spectral_distance": "Euclidean distance between the sorted Laplacian spectra of this and the previous session",
    },
)
