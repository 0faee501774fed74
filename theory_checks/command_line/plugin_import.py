"""A plug-in that ends the interpreter when it is imported is found out in another one, before it is imported here.

``os._exit(0)`` at a plug-in's import would end a command with the status of success, and nothing done: no handler of
this process sees it.
"""

from __future__ import annotations

import os
import subprocess
import sys

__all__ = ["check_import"]

# Packages of ours, which are trusted: the other interpreter would double their time.
_OURS = ("lml", "toy", "theory_checks", "image_exps", "paper_figures")

_MARK = "imported, or raised"

# What is raised is raised again here, and reported there.
_CODE = f"""
import sys
from importlib import import_module
try:
    import_module(sys.argv[1])
except BaseException:
    pass
print({_MARK!r}, flush=True)
"""


def check_import(module: str) -> None:
    """Refuse a module of another package that ends the interpreter when it is imported.

    Costs the time of one more import, once a process.

    Raises:
        ValueError: saying how it ends.
    """
    if module.partition(".")[0] in _OURS or module in sys.modules:
        return
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", _CODE, module],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if _MARK.encode() not in done.stdout:
        raise ValueError(f"it ends the interpreter when it is imported (exit status {done.returncode})")
