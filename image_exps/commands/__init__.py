"""The subcommands of ``python -m image_exps``: a file each, with a click command named ``command``.

The first line of a file's docstring is its line in ``python -m image_exps --help``, which is read without importing it.
"""

import os

# What these libraries say at a start is addressed to their developers.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
