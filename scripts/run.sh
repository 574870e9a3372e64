#!/usr/bin/env bash
# scripts/run.sh [dtrain arguments]: sets up what is missing, builds, and starts dtrain on DTRAIN_RANKS ranks (2).
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
"$here/scripts/setup.sh"
ranks=${DTRAIN_RANKS:-2}
# mpirun refuses root (containers), and more ranks than it finds cores, unless told.
if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
if [ "$ranks" -gt "$(nproc)" ]; then export OMPI_MCA_rmaps_base_oversubscribe=1; fi
exec mpirun -np "$ranks" "$here/${DTRAIN_BUILD:-build}/dtrain" "$@"
