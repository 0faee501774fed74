"""The figures: one file each, from claims and sweeps to PDF, PNG and a caption whose numbers come from the data."""
