"""The evidence for the bundled model: what `results.py` measures, counts and writes.

1. What is asked for: `settings`. The sections: `sections`. Predictions of them, kept: `lab`.
2. Each part (`parts/`) measures one section at a time, then all of them together, then tells it.
3. `run` goes through sections and keeps the numbers (`rows`), so that it can be interrupted.
4. `statistics`, `tables` and `figures` are what the parts share; `document` puts them together.
"""
