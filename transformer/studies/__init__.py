"""Studies over finished runs: a table and a figure each."""
