"""Results of the package: rows of sweeps as Parquet, the record of the search as CSV, tables as Markdown."""
