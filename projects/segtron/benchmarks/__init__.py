"""Benchmarks: what Segtron's work costs, against the programs that do the same work elsewhere."""
