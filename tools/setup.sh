#!/bin/sh
# Sets up what is missing: .venv with the locked packages, the project in it, the generated code, the backends'
# programs. Quick, and without network, when nothing is missing. Run by `make setup` from the root of the project.
set -eu

VENV=.venv
STAMP=$VENV/.tidings-setup
KEPT=$VENV/.tidings-python  # what it was made with: the fastest is looked for once
FASTEST=tools/make/fastest_python.py
LOCK=requirements-dev.lock

say() { printf '%s\n' "$*" >&2; }

# Whether the locked packages are made for it, and it makes virtual environments.
suits() {
    [ -n "$1" ] && "$1" -I "$FASTEST" about </dev/null >/dev/null 2>&1
}

# What PYTHON names; else what the environment was made with; else the fastest, which any that suits finds out.
find_python() {
    if suits "${PYTHON:-}"; then
        command -v "$PYTHON"
        return 0
    fi
    if [ -n "${PYTHON:-}" ]; then say "Not suitable, so another one is looked for: $PYTHON"; fi
    kept=$(cat "$KEPT" 2>/dev/null) || kept=
    if suits "$kept"; then
        printf '%s\n' "$kept"
        return 0
    fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python \
        "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/*/bin/python3; do
        if suits "$candidate"; then
            "$candidate" -I "$FASTEST" || command -v "$candidate"
            return 0
        fi
    done
    say "No suitable Python was found: Tidings needs CPython 3.11 to 3.14 with its venv module."
    say "Install one (on Debian and Ubuntu: apt install python3 python3-venv), or name one: make setup PYTHON=/path/to/python3"
    for candidate in python3 python3.11 python3.12 python3.13 python3.14; do
        found=$("$candidate" --version 2>/dev/null) && say "  found, not suitable: $candidate ($found)"
    done
    return 1
}

install_packages() {
    if command -v uv >/dev/null 2>&1 &&
        uv pip install --quiet --python "$VENV/bin/python" --require-hashes -r "$LOCK" 2>/dev/null; then
        return 0
    fi
    "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || "$VENV/bin/python" -m ensurepip --upgrade >/dev/null
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$LOCK" || {
        say "The packages of $LOCK could not be installed. The first set-up needs the network; try \`make setup\` again."
        return 1
    }
}

# Both distributions, as they are in this folder; before they were two, there was one called tidings.
install_project() {
    "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || "$VENV/bin/python" -m ensurepip --upgrade >/dev/null
    "$VENV/bin/python" -m pip uninstall --quiet --yes tidings >/dev/null 2>&1 || true
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index \
        -e ./client -e .
}

if ! "$VENV/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    python=$(find_python)
    say "Making $VENV with $("$python" --version) …"
    "$python" -m venv --clear "$VENV"
    printf '%s\n' "$python" >"$KEPT"
fi

# The folder is part of it: a copied project would import from where it was copied from.
wanted="$(pwd) $(cat "$LOCK" pyproject.toml client/pyproject.toml | cksum)"
if [ "$(cat "$STAMP" 2>/dev/null)" != "$wanted" ]; then
    say "Installing the locked packages …"
    rm -f "$STAMP"
    install_packages
    install_project
    printf '%s\n' "$wanted" >"$STAMP"
fi

"$VENV/bin/python" -m tools.make.protos complete
"$VENV/bin/python" -m tools.cli.stack.programs
