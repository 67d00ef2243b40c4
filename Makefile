# make demo    from a bare machine to every table and figure of the embedded studies of both reports
# make test    style, lint, types, tests and a small end-to-end run
# make test-all    the same, and the paper's networks at their real size on small files
# make mutants [ROOM=distort]    small faults put into the code: would the tests notice? Writes docs/mutants.md
# make bench   timings of distortions, restorations and attacks, as ratios
# make bench-attacks    how near our attacks come, beside three libraries of attacks
# make gpu-check [STUDY=paper-16bit]    on a machine with a GPU, minutes: does it compute what the CPU does, and how fast? Writes benchmarks/<card>.json
# make docs    what the code writes: settings.md, plan.md, statistics.md, proposition-1.md, architecture.md's picture, README's answer and tables (minutes)
# make lock    resolve requirements.lock and envs/ anew (needs uv)
# make clean   remove the environment (results stay)

PYTHON ?= python3
BIN := .venv/bin
STUDY ?= paper
ATTACKS := adv-lib==0.2.8 torchattacks==3.5.1 numba==0.68.1 llvmlite==0.50.0

.PHONY: demo test test-all bench bench-attacks gpu-check docs mutants lock clean

demo: .venv/installed
	$(BIN)/snakemake --cores all
	$(BIN)/snakemake --cores all --config study=simclr-demo
	@$(BIN)/contrastive-inversion summary --study simclr-demo
	@$(BIN)/contrastive-inversion summary --study demo

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/Snakefile workflow/rules
	$(BIN)/snakemake --lint
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --durations=25

test-all: test
	$(BIN)/python -m pytest -q -m slow -n 2 --dist loadfile

mutants: .venv/installed
	$(BIN)/python tests/mutants/run.py $(ROOM)

gpu-check: .venv/installed
	$(BIN)/python benchmarks/gpu_check.py --study $(STUDY)

bench: .venv/installed
	$(BIN)/python benchmarks/bench.py

# without their needs: one asks for an old requests, another for visdom, a server that draws curves, which it imports and
# does not need: an empty module stands in for it
bench-attacks: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target .venv/attacks $(ATTACKS)
	touch .venv/attacks/visdom.py
	PYTHONPATH=.venv/attacks $(BIN)/python benchmarks/attacks.py

# -P, as docs/statistics.py would hide Python's own `statistics`
docs: .venv/installed
	$(BIN)/python docs/settings.py
	$(BIN)/python docs/rooms.py
	$(BIN)/python docs/plan.py
	$(BIN)/python -P docs/answer.py
	$(BIN)/python docs/statistics.py
	$(BIN)/python docs/proposition_1.py

LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --no-header --quiet

lock:
	$(LOCK) --extra compute --extra slurm --extra test -o requirements.lock
	$(LOCK) --extra compute --constraint requirements.lock --no-annotate -o envs/compute.txt
	$(LOCK) --constraint requirements.lock --no-annotate -o envs/render.txt
	$(PYTHON) envs/write.py

clean:
	rm -rf .venv

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11, 3.12 or 3.13 is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@
