"""Graphs: who moves with whom, dated session by session.

Key input: `returns`. Key outputs: `correlation_graphs`, `graph_statistics`, `graph_drift`.
Known when: a session's graph uses returns up to that session's close and nothing later.
"""
