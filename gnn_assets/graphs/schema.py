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
        "rank": "0 for the strongest neighbour: the largest |corr|, or corr where signed; ties by symbol order",
        "corr": "pairwise-complete correlation of log returns over the window, by the configured measure",
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
        "full_degree": pl.Float64,
        "components": pl.Int32,
        "largest_component": pl.Float64,
        "communities": pl.Int32,
        "churn": pl.Float64,
        "spectral_distance": pl.Float64,
        "community_change": pl.Float64,
    },
    key=("session",),
    descriptions={
        "data_end": "last session any return of the window comes from",
        "density": "share of ordered symbol pairs that are edges",
        "degree_mean": "mean number of out-neighbours",
        "churn": "Jaccard distance of the edge set to the session before's; null for the first session",
        "full_degree": "share of symbols with all the neighbours the setting k allows",
        "components": "connected parts of the undirected graph, a symbol without an edge being one",
        "largest_component": "share of symbols in the largest of them",
        "communities": "Louvain communities of the undirected graph weighted by |corr|, lone symbols aside",
        "spectral_distance": "Cramér distance between the spectra of this and the previous session's normalised "
        "Laplacian, from their first four moments (radians to the power one half); null for the first session",
        "community_change": "1 − adjusted Rand index of the previous session's communities and the same carried over "
        "to this graph; null for the first session, and if no symbol has an edge in both",
    },
    schema_version=2,
)

GRAPH_DRIFT = Table(
    name="graph_drift",
    columns={
        "session": pl.Date,
        "statistic": pl.Float64,
        "limit": pl.Float64,
        "alarm": pl.Boolean,
        "episode": pl.Date,
        "reference": pl.Date,
        "calibrated_on": pl.Date,
        "compared": pl.Int32,
        "returns_hash": pl.String,
    },
    key=("session",),
    descriptions={
        "session": "last session of the graph's window",
        "statistic": "root mean square difference of the pairwise-complete correlations of the two graphs",
        "limit": "what a market without change passes in one episode of the configured number of sessions",
        "alarm": "whether the statistic is above the limit",
        "episode": "session with which the alarm episode that is open began; null outside of one",
        "reference": "last session of the reference graph's window",
        "calibrated_on": "first session the limit holds for; it was made from the returns before it alone",
        "compared": "symbols whose pairs are compared",
        "returns_hash": "hash of all returns up to the session, and of the code and settings; equal: nothing to redo",
    },
)
