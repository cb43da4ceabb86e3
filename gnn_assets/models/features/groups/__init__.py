"""Groups of node features.

A group is a module with

    NEEDS: the fields of the bars it reads besides returns; without them the group is left out
    GRAPH: whether it reads the graph, and must be made anew for another one
    features(bars, graph, config) -> name → (T, N): raw values, NaN where absent, each known at its row's close

Of the neighbours, row d may read row d alone: a forecast is recomputed from the graph of its own session.
"""
