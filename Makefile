# Runs the environments of tox.ini, and sets up what they need on a new machine.

PYTHON ?= python3
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK = 1

VENV = .venv
TOX_VENV = .venv-tox

# pyenv's shims run only the selected versions; this lets tox find the others.
EMPTY =
COMMA = ,
MEASURED = oldest newest live
PYENV = $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.1[1-4]*/bin)
TOX = PATH="$$PATH$(subst $(EMPTY) ,,$(addprefix :,$(PYENV)))" $(TOX_VENV)/bin/tox run

# `python3` may be a slow shim: ask it once for the real interpreter.
MAKE_VENV = "`$(PYTHON) -c 'import sys; print(sys.executable)'`" -m venv --clear

# REAL=1 (or LIVE=1): the demo uses your own claude, codex and accounts, and fetches nothing.
REAL ?= $(LIVE)

# Makes what bootstrap installs available at once.
HERE = PATH="$$HOME/.local/bin:$$PATH";

SOURCES = $(shell find dev_sessions skills templates -type f ! -name '*.py[co]')

.PHONY: help demo delegate fan-out consult handoff install-skills bootstrap test style types unit live compat soak bench coverage agents venv build clean python

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

demo: python ## run a Claude Code and a Codex session side by side, offline; REAL=1 uses your own agents and accounts
	@$(PYTHON) scripts/prepare.py tmux $(if $(REAL),,npm)
	@$(MAKE) --no-print-directory $(VENV)/installed
ifneq ($(REAL),)
	@$(VENV)/bin/python scripts/demo.py --real $(ARGS)
else
	@echo "Checking that the pinned claude and codex are available."
	@claude=`$(VENV)/bin/python scripts/fetch_agents.py --print claude` && \
	    codex=`$(VENV)/bin/python scripts/fetch_agents.py --print codex` && \
	    DEV_SESSIONS_TEST_CLAUDE="$$claude" DEV_SESSIONS_TEST_CODEX="$$codex" $(VENV)/bin/python scripts/demo.py $(ARGS)
endif

test: python ## run everything: style, types, tests on the oldest and the newest Python found, the package, live tests
	@$(PYTHON) scripts/prepare.py tmux npm bwrap engine
	@$(MAKE) --no-print-directory agents $(TOX_VENV)/installed
	@$(TOX) $(ARGS)

style: $(TOX_VENV)/installed ## lint and format with ruff
	@$(TOX) -e style -- $(ARGS)

types: $(TOX_VENV)/installed ## mypy --strict
	@$(TOX) -e types -- $(ARGS)

unit: $(TOX_VENV)/installed ## run the fast tests on one Python: unit, contract, cli; ARGS="-k names" selects
	@$(TOX) -e py -- tests/unit tests/contract tests/cli $(ARGS)

live: $(TOX_VENV)/installed ## run the live tests: real claude, real tmux, no network
	@$(TOX) -e live -- tests/live $(ARGS)

compat: $(TOX_VENV)/installed ## run the tests of the state table and of send on the oldest supported claude
	@$(PYTHON) scripts/prepare.py tmux npm
	@$(TOX) -e compat -- $(ARGS)

soak: $(TOX_VENV)/installed ## run for hours what make test tries briefly: crowds, hundreds of kills, thousands of texts; before a release
	@$(PYTHON) scripts/prepare.py tmux npm bwrap
	@$(TOX) -e soak -- $(ARGS)

bench: $(TOX_VENV)/installed ## measure the speed; ARGS="--only status" selects, --page updates the tables
	@$(PYTHON) scripts/prepare.py tmux npm
	@$(TOX) -e bench -- $(ARGS)

coverage: $(TOX_VENV)/installed ## measure the lines and branches that all tests cover, including the live ones
	@rm -rf .tox/measured && mkdir -p $(addprefix .tox/measured/,$(MEASURED))
	@DEV_SESSIONS_MEASURE="python -m coverage run -m" $(TOX) -e $(subst $(EMPTY) ,$(COMMA),$(MEASURED)),coverage

agents: python ## fetch the pinned test agents, once for all clones of this user
	@$(PYTHON) scripts/fetch_agents.py

# Your text goes through the environment, so that make's shell interprets no character in it.
export TASK PLAN Q
CLI ?= claude

delegate: $(VENV)/installed ## give one task to a new session and print the reply: TASK="..." [CLI=codex] [ARGS=...]
	@$(VENV)/bin/dev-sessions sync-delegate $(if $(TASK),"$$TASK") --cli $(CLI) $(ARGS)

fan-out: $(VENV)/installed ## run several tasks at once: PLAN=plan.yaml, or PLAN="a.md b.md" [ARGS=...]
	@$(VENV)/bin/dev-sessions fan-out $$PLAN $(ARGS)

consult: $(VENV)/installed ## ask Claude Code and Codex the same question: Q="..." [ARGS=...]
	@$(VENV)/bin/dev-sessions consult $(if $(Q),"$$Q") $(ARGS)

handoff: $(VENV)/installed ## hand running work to a new session: TASK="..." [CLI=codex] [ARGS=...]
	@$(VENV)/bin/dev-sessions handoff $(if $(TASK),"$$TASK") --cli $(CLI) $(ARGS)

install-skills: $(VENV)/installed ## install the skills for your agents; ARGS=--check, --diff, --uninstall and others
	@$(VENV)/bin/dev-sessions install-skill $(ARGS)

bootstrap: python ## set up a new machine: tmux, an agent, the command, skills, completion; ends with doctor
	@$(PYTHON) scripts/prepare.py tmux
	@$(HERE) command -v claude >/dev/null || command -v codex >/dev/null || { $(PYTHON) scripts/prepare.py npm && \
	    echo "Installing Claude Code into ~/.local." && npm install -g --prefix "$$HOME/.local" @anthropic-ai/claude-code; }
	@$(MAKE) --no-print-directory $(VENV)/installed
	@mkdir -p "$$HOME/.local/bin" && ln -sf "$(abspath $(VENV))/bin/dev-sessions" "$$HOME/.local/bin/dev-sessions"
	@case ":$$PATH:" in *":$$HOME/.local/bin:"*) ;; *) echo "Put ~/.local/bin on your PATH." ;; esac
	@$(HERE) dev-sessions install-skill
	@# It installs completion for the shell that runs it, so run it in yours rather than make's.
	@$(HERE) "$${SHELL:-sh}" -c 'dev-sessions --install-completion && true' || \
	    echo "Shell completion was not installed: run dev-sessions --install-completion in bash, zsh or fish."
	@$(HERE) dev-sessions doctor

venv: $(VENV)/installed ## create .venv with dev-sessions installed

build: $(TOX_VENV)/installed ## build the sdist and the wheel into dist
	@$(TOX_VENV)/bin/pyproject-build

clean: ## remove what the other targets created, except .agents
	rm -rf $(VENV) $(TOX_VENV) .tox dist build .mypy_cache .pytest_cache .ruff_cache
	find dev_sessions scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found. Install Python 3.11 or newer," \
	    "or name one, as in make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) scripts/prepare.py python

$(VENV)/bin/python: | python
	@echo "Creating the virtual environment $(VENV)."
	@$(MAKE_VENV) $(VENV)

$(VENV)/installed: pyproject.toml README.md $(SOURCES) | $(VENV)/bin/python
	@echo "Installing dev-sessions into $(VENV)."
	@$(VENV)/bin/python -m pip install --quiet .
	@touch $@

$(TOX_VENV)/installed: | python
	@echo "Creating the virtual environment $(TOX_VENV) with tox."
	@$(MAKE_VENV) $(TOX_VENV)
	@$(TOX_VENV)/bin/python -m pip install --quiet 'tox>=4.24' build
	@touch $@
