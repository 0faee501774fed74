# make           set up (.venv)
# make verify    the ledger: every claim with its verdict; 4 minutes
# make figures   the figures with their captions, in out/figures; 5 minutes, then a minute as long as nothing changed
# make notebooks run the notebooks of theory_checks in place; 3 minutes
# make lab       open the notebooks in JupyterLab
# make test      the test suite; 10 minutes on 2 cores
# make mutation  every injected fault, and which check kills it; 8 minutes or more
# make docs      the site: ledger, figures, notebooks and reference, in out/site; 5 minutes
# make check-docs every page of it in Chromium: links, pictures, formulas, width on a desk and on a phone; 4 minutes
# make wheel     a wheel in dist, and the tests that it installs and runs outside of the repository
# make mutation-general  mutants of every line of the mathematics of lml and toy, see tests/MUTATION.md; an hour
PYTHON ?= python3
# Extra flags for pip, e.g. the CPU build of PyTorch: PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LEDGER := out/verify/.complete
SOURCES := $(shell git ls-files -co --exclude-standard -- 'lml/*' 'toy/*' 'theory_checks/*' 'image_exps/*' 2>/dev/null)

.PHONY: setup verify figures notebooks lab mutation mutation-general test outside test-outside gpu test-slow lint bench docs check-docs wheel clean
setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1). Choose one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[verify,diffusers,images,dev]'
	@touch $@

# A ledger that is complete and newer than every source is shown again, not computed again; `make clean` forgets it.
verify: $(INSTALLED)
	@if $(MAKE) --no-print-directory -q $(LEDGER); then cat out/verify/ledger.txt; \
	  echo "Nothing changed since this run. Run it again with: make clean verify"; \
	else $(MAKE) --no-print-directory $(LEDGER); fi

$(LEDGER): $(INSTALLED) $(SOURCES)
	@rm -f $@
	@$(BIN)/python -m theory_checks --out out/verify
	@test -f $@

figures: $(INSTALLED)
	$(BIN)/python -m paper_figures

# The outputs are kept with the notebooks: run this after a change that they show.
notebooks: $(INSTALLED)
	$(BIN)/python -m theory_checks.notebooks

lab: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[lab]'
	$(BIN)/jupyter lab theory_checks/notebooks

mutation: $(INSTALLED)
	@$(BIN)/python -m theory_checks.ledger.mutation --out out/mutation

mutation-general: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[mutation]'
	OMP_NUM_THREADS=1 $(BIN)/python -m mutmut run
	$(BIN)/python -m mutmut results

# A process a core, one thread each: the tests that need more threads ask for them.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n auto --dist worksteal

# What is not in the repository: data of system packages, weights, a browser, as far as registries have it.
outside: $(INSTALLED)
	.ci/outside $(BIN)/python

# The tests that need it. Where it is absent they are skipped, with a sentence.
test-outside: $(INSTALLED)
	$(BIN)/python -m pytest -m outside

# Everything that needs a GPU, in 8 minutes at most; results in benchmarks/results.
gpu: $(INSTALLED)
	$(BIN)/python benchmarks/gpu.py

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)
	$(BIN)/python -m pytest benchmarks -W ignore::DeprecationWarning --benchmark-only --benchmark-columns=median,iqr,rounds

# The pages of the ledger and of the figures show what `make verify` and `make figures` left.
docs: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[docs]'
	@rm -rf out/site docs/api/*/
	$(BIN)/python -m sphinx --fresh-env --fail-on-warning --keep-going -q -b html docs out/site
	@echo "out/site/index.html"

# Chromium of the system, or of `python -m playwright install chromium`. External addresses: check_site.py --external
check-docs: $(INSTALLED)
	$(BIN)/python docs/check_site.py out/site

wheel: $(INSTALLED)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/python -m pytest -m slow tests/test_wheel.py

clean:
	rm -rf out mutants docs/ledger docs/figures docs/figures.md docs/notebooks
