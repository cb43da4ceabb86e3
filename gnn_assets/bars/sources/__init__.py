"""Sources of bars, one file each: `fetch(symbols, first, last) -> Fetched`."""
