"""The open search for a setting that needs no tuning per target: ``python -m image_exps.search``."""
