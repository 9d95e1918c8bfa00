# `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

SEARCH_FLAGS := -model_path architectures/nb201_best.pkl -model_family nb201 \
	-predictor_path saved_models/ensemble -predictor_type PSC_predictor \
	-input_h 32 -input_w 32 -input_c 3 -epoch 10 -top_k 10 \
	-max_candidate_per_iter 10 -max_target_per_iter 100 -num_train_cgs 0 \
	-min_flops_decrease_percent -10 -max_flops_decrease_percent 100 -mutation_unit segment -n_jobs 2

.PHONY: help setup search test test-slow fuzz lint typecheck check bench pictures reliability clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup: $(VENV)/.done  ## install everything into .venv

$(VENV)/.done: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
	    v >= (3, 11) or sys.exit("Python 3.11 or newer is needed, $(PYTHON) is %d.%d" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

search: setup  ## run the search of the README on architectures/nb201_best.pkl
	$(RUN) autogo.py $(SEARCH_FLAGS)

test: setup  ## run the test suite
	$(RUN) -m pytest -n 2

test-slow: setup  ## run the tests that take minutes
	$(RUN) -m pytest -n 2 -m slow

fuzz: setup  ## read files that are made by chance, for MINUTES (10)
	$(RUN) -m tests.fuzz.run -minutes $(or $(MINUTES),10)

lint: setup  ## check style
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

typecheck: setup  ## check types
	$(RUN) -m mypy

check: lint typecheck test  ## what continuous integration runs

bench: setup  ## measure speed, append to benchmarks/results.md (10 minutes)
	$(RUN) benchmarks/run_all.py

pictures: setup  ## draw the pictures of the README anew, from a search (needs a Chromium)
	$(RUN) docs/make_pictures.py

reliability: setup  ## kill every long job over and over, try faults, watch memory; into docs/reliability.md (an hour)
	OMP_NUM_THREADS=1 $(RUN) benchmarks/reliability.py

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
