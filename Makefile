# Two commands matter most: `make lab` to learn, `make test` to check. Both prepare what they need.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
COMMA := ,
PINS := pyproject.toml constraints.txt
# Options for JupyterLab: make lab ARGS="--no-browser --port 8899"
ARGS ?=
# Where to take torch from: make lab TORCH_INDEX=https://... (empty: pip's usual index)
TORCH_INDEX ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help lab present slides slides-pdf site handout pictures walk test clean usable

define ADVICE

The installation did not finish. Look for these words in the lines above:
  "Failed to establish a new connection", "name resolution"
        No network, or a proxy stands between: export HTTPS_PROXY=http://your-proxy:port
  "CERTIFICATE_VERIFY_FAILED"
        The proxy has its own certificate: export PIP_CERT=/path/to/ca.pem
  "No matching distribution found", "ResolutionImpossible", with no word about the connection
        The index lacks the pinned version for this Python or system. Try another Python:
        'make clean', then PYTHON=python3.12; or another TORCH_INDEX, or none.
  "No space left on device"
        Free some gigabytes. On Linux a CPU wheel index as TORCH_INDEX needs far less: docs/install.md.
  "ensurepip is not available"
        Install your system's venv package (Debian, Ubuntu: apt install python3-venv).
Then type the same command again: it goes on where it stopped. 'make clean' starts from nothing.
endef
export ADVICE
# A recipe runs this first: it speaks when a command fails, and when Ctrl-C stops it.
EXPLAIN = set -e; trap 'code=$$?; [ $$code -eq 0 ] || printf "%s\n" "$$ADVICE" >&2; exit $$code' EXIT; \
	trap 'exit 130' INT TERM;

help:  ## show this list
	@echo "make lab    install what the lessons need into $(VENV), then open JupyterLab on notebooks/"
	@echo "            ARGS=\"--no-browser --port 8899\" passes options on to JupyterLab"
	@echo "make present  the same JupyterLab, set up to show a lesson as live slides"
	@echo "make slides run the lessons and write build/slides/: one file each, works with no network"
	@echo "make slides-pdf  print these slides into build/pdf/, with the Chromium that is installed"
	@echo "make site   all lessons as pages, an index and the slides: build/site/, for any web server"
	@echo "make handout  plan, vote cards, answer key, cheat sheet on paper, a Moodle quiz: build/handout/"
	@echo "make pictures  pictures of the explorer at the moments that decide: build/pictures/"
	@echo "make walk   the explorer line by line as moving pictures, light and dark: build/walk/"
	@echo "make test   install what the tests need too, then run ruff, mypy and pytest"
	@echo "make clean  remove $(VENV), build/ and all caches"
	@echo "PYTHON=python3.12 chooses the Python (>= 3.11), TORCH_INDEX=https://... an index for torch"

# Asked before anything else: can this folder be used, and was .venv made for it?
usable:
	@sh tools/usable.sh

# Stamps are written only after success, so an interrupted installation is taken up again.
$(VENV)/.created: | usable
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "'$(PYTHON)' was not found. Install Python 3.11 or newer, or name it: make PYTHON=..." >&2; \
	  exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$$("$(PYTHON)" --version) is too old, 3.11 or newer is needed. Name another one:" \
	    "make PYTHON=python3.12" >&2; exit 1; }
	@$(EXPLAIN) "$(PYTHON)" -m venv $(VENV)
	@touch $@

# torch goes first and alone: asked for together with the rest, pip could choose another build.
# Its own dependencies wait for the next call: an index of torch builds may lack the pinned ones.
$(VENV)/.torch: constraints.txt $(VENV)/.created
	@$(EXPLAIN) $(PY) -m pip install --no-deps -c constraints.txt --no-compile \
	  $(if $(TORCH_INDEX),--index-url "$(TORCH_INDEX)") torch==2.13.0
	@touch $@

# pip writes hundreds of lines. They go to the log; what is wrong goes to the terminal. Pip would
# compile on one core what it installs. (What cannot be compiled is of other Pythons; of the files
# every sixth is a package's own test.)
INSTALL = @echo "Installing $(EXTRAS): a minute or two with nothing to read (all is in $(VENV)/install.log)"; \
	$(EXPLAIN) $(PY) -m pip install --progress-bar off -c constraints.txt --no-compile -e ".[$(EXTRAS)]" \
	  >$(VENV)/install.log; $(PY) -m compileall -q -j 0 -x '/tests?/' $(VENV)/lib >>$(VENV)/install.log 2>&1 || true; \
	echo "Installed. $(VENV) has $$(du -sm $(VENV) | cut -f1) MB."

$(VENV)/.lab: EXTRAS = lab
$(VENV)/.slides: EXTRAS = lab,slides
$(VENV)/.deck: EXTRAS = lab,deck
$(VENV)/.test: EXTRAS = lab,slides,deck,test
$(VENV)/.lab $(VENV)/.slides $(VENV)/.deck $(VENV)/.test: $(PINS) $(VENV)/.torch
	$(INSTALL)
	@touch $(patsubst %,$(VENV)/.%,$(filter-out test,$(subst $(COMMA), ,$(EXTRAS)))) $@

# JupyterLab keeps its token and looks for the next free port by itself. It refuses to run as root
# unless told so; root is the only user in many containers.
OPEN_LAB = $(PY) -m jupyterlab --ServerApp.ip=127.0.0.1 $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS) notebooks

lab: $(VENV)/.lab  ## open JupyterLab on the first lesson
	JUPYTER_CONFIG_PATH="$(CURDIR)/gan_lessons/classroom/jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" \
	  $(OPEN_LAB) --LabApp.default_url=/lab/tree/00-start-here.ipynb

# The settings that live slides need are a folder that Jupyter is pointed to; what the teacher changes
# is kept in .venv, so that `make lab` stays as it is. That a deck was on screen is forgotten: the
# next lesson is chosen from JupyterLab as it usually looks.
STAGE := $(CURDIR)/$(VENV)/present
present: $(VENV)/.deck  ## JupyterLab with live slides
	@rm -f "$(STAGE)/settings/@deathbeds/jupyterlab-deck/plugin.jupyterlab-settings"
	JUPYTER_CONFIG_PATH="$(CURDIR)/tools/present$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" \
	  JUPYTERLAB_SETTINGS_DIR="$(STAGE)/settings" JUPYTERLAB_WORKSPACES_DIR="$(STAGE)/workspaces" $(OPEN_LAB)

slides: $(VENV)/.slides  ## one file of slides per lesson
	$(PY) -m gan_lessons.classroom.export.build slides

site: $(VENV)/.slides  ## all lessons as pages, the slides beside them
	$(PY) -m gan_lessons.classroom.export.build site

# Playwright, which drives the Chromium, comes with what the tests need.
slides-pdf: $(VENV)/.test slides  ## the slides on paper
	$(PY) tools/deck_browser.py --pdf build/pdf build/slides/*.html

handout: $(VENV)/.test  ## what a teacher takes into the room
	$(PY) -m gan_lessons.classroom.export.build handout
	$(PY) tools/deck_browser.py --pdf build/handout build/handout/*.html

pictures: $(VENV)/.test  ## the explorer, light and dark
	$(PY) tools/explorer_pictures.py build/pictures

walk: $(VENV)/.test  ## the explorer as a moving picture
	$(PY) tools/explorer_pictures.py --walk build/walk

# How many workers, and what each gets: tests/conftest.py.
WORKERS ?= -n auto --dist loadfile

# mypy keeps to one core, and pytest leaves it room: they run side by side, and mypy has its say last.
test: $(VENV)/.test  ## all checks
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	@$(PY) -m mypy >$(VENV)/mypy.log 2>&1 & types=$$!; \
	trap 'kill $$types 2>/dev/null' EXIT; trap 'exit 130' INT TERM; \
	echo $(PY) -m pytest $(WORKERS); $(PY) -m pytest $(WORKERS); failed=$$?; \
	echo $(PY) -m mypy; wait $$types || failed=1; cat $(VENV)/mypy.log; exit $$failed

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -prune -exec rm -rf {} +
