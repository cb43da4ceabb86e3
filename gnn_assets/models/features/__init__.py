"""Node features, one group a file in `groups/`: found by name, put together in `build`."""
