"""First jobs of `convline add` beside the best of their peers; run by `python -m benchmarks.strength`."""
