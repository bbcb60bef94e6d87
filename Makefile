# `make help` lists what there is. Everything happens in this folder: .venv, .tidings and caches are ignored by git.
SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
PROTOS := $(shell find protos -name '*.proto')

.PHONY: help
help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: protos
protos:  ## make the generated code beside the protos anew
	@$(PYTHON) -m tools.protos write

.PHONY: protos-check
protos-check:  ## the generated code is what the protos say
	@$(PYTHON) -m tools.protos check
