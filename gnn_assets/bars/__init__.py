"""Bars: what the market did, as each source told it, with every revision.

Key inputs: the universe file and a chain of sources. Key outputs: `market_bars`, `corporate_actions`, `returns`.
Known when: a session's bar at its close plus grace; a revision at the moment it was fetched.
"""
