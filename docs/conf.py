"""Sphinx: the site that ``make docs`` builds from docstrings, notebooks, figures and the ledger."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "LML toolkit"
copyright = "the lml-toolkit authors"  # noqa: A001  (Sphinx's name)
release = version = version_of("lml-toolkit")

extensions = [
    "myst_nb",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "attributes",
    "gallery",
    "ledger",
    "mathml",
    "public_names",
]
html_math_renderer = "mathml"
# The lists of modules that apidoc writes repeat what the packages' own pages say.
exclude_patterns = ["_build", "**/README.md", "api/*/modules.rst"]

html_theme = "furo"
html_title = "LML toolkit"
html_static_path = ["_static"]
html_css_files = ["site.css", "ledger.css"]
html_show_sphinx = False

# Docstrings are Google's, with names of the code in single backticks.
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
# A name is described in the module that defines it, not again in the packages that gather it.
autodoc_default_options = {"ignore-module-all": True}
# Else types that a module names, `Damping = float | ...`, get a link to the source of Python itself.
viewcode_follow_imported_members = False
apidoc_modules = [
    {
        "path": str(ROOT / package),
        "destination": f"api/{package}",
        "exclude_patterns": ["**/__main__.py", "**/notebooks/**", "**/data/**"],
        "separate_modules": True,
        "module_first": True,
        "implicit_namespaces": False,
        "automodule_options": {"members", "show-inheritance"},
    }
    for package in ("lml", "toy", "theory_checks", "image_exps", "paper_figures")
]

# Notebooks are shown as they were run by `make notebooks`.
nb_execution_mode = "off"
# Verdicts are tables of Markdown, which the default, CommonMark, does not know.
nb_render_markdown_format = "myst"
myst_enable_extensions = ["dollarmath", "colon_fence", "attrs_inline", "deflist"]
myst_heading_anchors = 3
smartquotes = False  # captions hold commands: --seed stays --seed
# Short names in signatures that several modules have (Sampler, x, low): Sphinx links one of them and says so.
suppress_warnings = ["misc.highlighting_failure", "ref.python"]
