#!/usr/bin/env bash
# scripts/test.sh [ctest arguments]: sets up what is missing, builds everything, and runs every test.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
"$here/scripts/setup.sh" --tests
exec ctest --test-dir "$here/${DTRAIN_BUILD:-build}" --output-on-failure --parallel "$(nproc)" "$@"
