"""Studies: rows of runs, tables and figures over them, and facts without any."""
