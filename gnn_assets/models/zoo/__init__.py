"""Models, one file each: `fit(...) -> Fitted` and `predict(...) -> scores`."""
