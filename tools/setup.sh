#!/bin/sh
# Sets up what is missing: .venv with the locked packages, the project in it, the generated code, the backends'
# programs. Quick, and without network, when nothing is missing. Run by `make setup` from the root of the project.
set -eu

VENV=.venv
STAMP=$VENV/.tidings-setup
KEPT=$VENV/.tidings-python  # which one was found the fastest: timed once
PACE=tools/make/pace.py
LOCK=requirements-dev.lock

say() { printf '%s\n' "$*" >&2; }

# Where Pythons are, one a line: on PATH, where systems and pyenv put them.
candidates() {
    printf '%s\n' "$PATH:/usr/local/bin:/usr/bin" | tr ':' '\n' | while IFS= read -r folder; do
        for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
            if [ -x "$folder/$name" ]; then printf '%s\n' "$folder/$name"; fi
        done
    done
    for python in "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/*/bin/python3; do
        if [ -x "$python" ]; then printf '%s\n' "$python"; fi
    done
}

can_make_venvs() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' </dev/null >/dev/null 2>&1
}

# Each of them once, whatever it is called, if the locked packages are made for it.
suitable() {
    seen=
    candidates | while IFS= read -r python; do
        case $python in "$(pwd)/$VENV"/*) continue ;; esac
        real=$("$python" -I "$PACE" where 2>/dev/null </dev/null) || continue
        case $seen in *"|$real|"*) continue ;; esac
        seen="$seen|$real|"
        if can_make_venvs "$python"; then printf '%s\n' "$python"; fi
    done
}

# The first of some lines, unless another is faster by more than the three per cent that timing may be wrong by.
fastest() {
    best= best_us= timed=
    while IFS= read -r python; do
        us=$("$python" -I "$PACE" time 2>/dev/null </dev/null) || continue
        timed="$timed, $python $((us / 1000)) ms"
        if [ -z "$best" ] || [ $((us * 100)) -lt $((best_us * 97)) ]; then
            best=$python best_us=$us
        fi
    done <<END
$1
END
    : "${best:=${1%%
*}}"
    say "Pythons here by the same loop: ${timed#, }. The fastest is taken: $best"
    printf '%s\n' "$best"
}

# The Python to make $VENV with: what PYTHON names, else what was found the last time, else the fastest there is.
find_python() {
    if [ -n "${PYTHON:-}" ] && can_make_venvs "$PYTHON"; then
        command -v "$PYTHON"
        return 0
    fi
    if [ -n "${PYTHON:-}" ]; then say "Not suitable, so another one is looked for: $PYTHON"; fi
    kept=$(cat "$KEPT" 2>/dev/null) || kept=
    if [ -n "$kept" ] && can_make_venvs "$kept"; then
        printf '%s\n' "$kept"
        return 0
    fi
    found=$(suitable)
    case $found in
    '') ;;
    *"
"*)
        fastest "$found"
        return 0
        ;;
    *)
        printf '%s\n' "$found"
        return 0
        ;;
    esac
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
