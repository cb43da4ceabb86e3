"""How good a fixed recipe's forecasts are on any file of daily bars, beside baselines.

    python -m benchmarks.quality --bars FILE --train-end DATE --valid-end DATE --test-end DATE --out scores.parquet

KEY INPUTS: a Parquet file of daily bars, three dates.
KEY OUTPUTS: `session, symbol, score` of the test sessions; a table of metrics with intervals; one line in the file of
looks.
What is known when: the score for session d is made of bars up to the close of the session before. The recipe never
meets a bar later than the last test session; labels are read here alone.
"""
