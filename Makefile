# make demo    from a bare machine to every table and figure of the embedded studies of both reports
# make test    style, lint, tests and a small end-to-end run
# make test-all    the same, and the paper's networks at their real size on small files
# make bench   timings of the corruptions and trainings, as ratios
# make clean   remove the environment (results stay)

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all bench clean

demo: .venv/installed
	$(BIN)/snakemake --cores all
	$(BIN)/snakemake --cores all --config study=simclr-demo
	@$(BIN)/contrastive-inversion summary --study simclr-demo
	@$(BIN)/contrastive-inversion summary --study demo

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint
	$(BIN)/python -m pytest -q

test-all: test
	$(BIN)/python -m pytest -q -m slow

bench: .venv/installed
	$(BIN)/python benchmarks/bench.py

clean:
	rm -rf .venv

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11, 3.12 or 3.13 is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@
