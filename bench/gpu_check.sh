#!/usr/bin/env bash
# bench/gpu_check.sh [--build DIR] [--python PYTHON] [--output DIR] [--limit SECONDS] [PART...]
#
# Runs on a machine with a GPU all that needs one, in less than eight minutes, and prints one table. The parts:
#
#   model peft train  the tests of these rooms that compute on a GPU, against the references in build/tests/reference
#   program           dtrain started as a user starts it: the same as on the CPU, dropout, resuming, compare
#   nccl-1 nccl-2     the communicator suite on one rank and on two
#   program-2         dtrain on two ranks against dtrain on one
#   high-rate         lora at a learning rate at which attention's dropout must be right in both passes for it to learn
#   peer              speed against transformers and peft: the ratios of bench/compare_with_peer.py
#   study-1 study-4   a study on one rank, and on four that share the GPU: the same results, how much sooner
#
# Two ranks need two GPUs or, on one GPU, NCCL 2.30 or newer, whose folder LD_LIBRARY_PATH may name.
#
# Nothing is built and no network is needed. Taken along are the sources and, of the build folder: dtrain, tests/*/test_*,
# bench/dtrain_batch_order, share/, CMakeCache.txt, and tests/reference/ as CTest has left it. The machine has the
# libraries that the program was built with (Open MPI, Boost) and a Python with torch (of the same version), transformers,
# peft, scikit-learn and pytest: .venv/bin/python, or --python. Where the build was made in another folder, that path is a
# link to this one for as long as the script runs.
#
# A part has a time of its own; one that --limit (470) leaves no time is skipped. The logs of all, machine.txt and table.md
# are in --output (build/gpu-check/DATE). Exit code: 0, 1 where a part failed, 2 for arguments that cannot be, 77 where no
# GPU is visible.
set -euo pipefail
root=$(realpath "$(dirname "$0")/..")

say() { echo "gpu_check: $*" >&2; }
refuse() {
  say "$*"
  exit 2
}

all=(model peft train program nccl-1 nccl-2 program-2 high-rate peer study-1 study-4)
build=$root/build
output=""
limit=470
python=$root/.venv/bin/python
[ -x "$python" ] || python=$(command -v python3 || true)
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h)
      sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "$0"
      exit 0
      ;;
    --build | --python | --output | --limit)
      [ $# -ge 2 ] || refuse "$1: expected a value"
      case $1 in
        --build) build=$(realpath -m "$2") ;;
        --python)
          python=$(command -v "$2") || refuse "--python: expected a program, found '$2'"
          python=$(realpath -ms "$python")  # its environment is where the link is
          ;;
        --output) output=$(realpath -m "$2") ;;
        --limit) limit=$2 ;;
      esac
      [[ $limit =~ ^[1-9][0-9]*$ ]] || refuse "--limit: expected seconds, found '$limit'"
      shift 2
      ;;
    -*) refuse "unknown option '$1' (bench/gpu_check.sh --help)" ;;
    *) break ;;
  esac
done
parts=("$@")
[ $# -gt 0 ] || parts=("${all[@]}")
is_in() { [[ " ${*:2} " == *" $1 "* ]]; }
for part in "${parts[@]}"; do
  is_in "$part" "${all[@]}" || refuse "unknown part '$part'; there are: ${all[*]}"
done
program=$build/dtrain
[ -x "$program" ] || refuse "expected $program, the program; name its folder with --build"
[ -z "$output" ] || [ ! -e "$output/table.md" ] || refuse "--output: $output holds an earlier check"
cd "$root"

SECONDS=0
if ! device=$("$python" -c 'import torch; n = torch.cuda.device_count(); print(n, torch.cuda.get_device_name(0) if n else "")'); then
  say "expected a Python with torch: --python"
  exit 1
fi
gpus=${device%% *}
if [ "$gpus" -eq 0 ]; then
  say "no GPU is visible here; nothing was run"
  exit 77
fi

# --- What the build needs here -----------------------------------------------------------------------------------------

link=""
trap '[ -z "$link" ] || rm -f "$link"' EXIT
home=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$build/CMakeCache.txt" 2>/dev/null || true)
if [ -n "$home" ] && [ ! -e "$home" ]; then
  if mkdir -p "$(dirname "$home")" && ln -s "$root" "$home"; then link=$home; fi
fi
missing() { ldd "$program" 2>/dev/null | sed -n 's/^[[:space:]]*\(.*\) => not found/\1/p' | paste -sd ' '; }
if [ -n "$(missing)" ]; then
  torch=$("$python" -c 'import torch; print(torch.__path__[0])')
  libraries=$(printf '%s:' "$torch/lib" "$torch"/../nvidia/*/lib)
  export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}${libraries%:}
fi
if [ -n "$(missing)" ]; then
  say "expected the libraries that $program was built with; missing: $(missing)"
  exit 1
fi
share=${DTRAIN_SHARE:-$build/share/dtrain}
mpirun=$(command -v mpirun || true)
output=${output:-$build/gpu-check/$(date +%Y-%m-%d-%H%M%S)}
mkdir -p "$output"
# Nothing of the user's own settings; ranks as root and more than there are cores, as in a container.
for variable in "${!DTRAIN_@}"; do unset "$variable"; done
export DTRAIN_SHARE=$share OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1
version=$("$program" --version)
nccl=$(sed -n 's/^NCCL //p' <<<"$version")
{
  echo "$gpus x ${device#* }, $(nproc) cores of $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -1)"
  echo "$version"
  date -u '+%Y-%m-%d %H:%M UTC'
  nvidia-smi 2>/dev/null || true
} >"$output/machine.txt"

# --- Parts ------------------------------------------------------------------------------------------------------------

# run PART SECONDS COMMAND...: leaves PART.log, and in PART.end the exit code, the seconds it took and those it had.
run() {
  local part=$1 box=$2 began=$SECONDS left=$((limit - SECONDS)) code=0
  shift 2
  if [ $left -lt "$box" ]; then box=$left; fi
  if [ "$box" -lt 3 ]; then
    skip "$part" "no time is left of the $limit s (--limit)"
    return
  fi
  timeout --kill-after=5 "$box" "$@" >"$output/$part.log" 2>&1 || code=$?
  echo "$code $((SECONDS - began)) $box" >"$output/$part.end"
}

skip() { echo "$2" >"$output/$1.skipped"; }

# Whether a part is asked for and has what it needs; where it has not, that is said of it.
can_run() {
  local part=$1 path
  shift
  is_in "$part" "${parts[@]}" || return 1
  for path in "$@"; do
    if [ ! -e "$path" ]; then
      skip "$part" "not here: ${path#"$root/"}"
      return 1
    fi
  done
}

# Likewise, of a part that starts ranks which may have to share the GPU through NCCL.
can_run_two() {
  can_run "$@" || return 1
  if [ -z "$mpirun" ]; then
    skip "$1" "no mpirun here"
  elif [ "$gpus" -lt 2 ] && [ "$(printf '%s\n' 2.30 "$nccl" | sort -V | head -1)" != 2.30 ]; then
    skip "$1" "one GPU, and NCCL $nccl: ranks share one from 2.30 on"
  else
    return 0
  fi
  return 1
}

json() { "$python" -c "import json, sys; a = [json.load(open(name)) for name in sys.argv[1:]]; $1" "${@:2}"; }

# What a part has shown, for the table. Fails where the log says otherwise than the exit code.
shown() {
  local part=$1 log=$output/$1.log
  case $part in
    model | peft | train | nccl-*)
      local passed skipped failed
      passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) tests\{0,1\}\.*$/\1/p' "$log" | tail -1)
      skipped=$(sed -n 's/^\[  SKIPPED \] \([0-9]*\) tests\{0,1\}, listed below:$/\1/p' "$log" | tail -1)
      failed=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) tests\{0,1\}, listed below:$/\1/p' "$log" | tail -1)
      echo "${passed:-0} tests passed${failed:+, $failed failed}${skipped:+, $skipped skipped}"
      [ "${passed:-0}" -gt 0 ]
      ;;
    program | program-2)
      grep -E '^[0-9]+ (passed|failed|skipped|error)' "$log" | tail -1
      grep -qE '^[0-9]+ passed|, [0-9]+ passed' "$log"
      ;;
    high-rate)
      # Near chance (3.8) where backward drops other places than forward; .97 on a CPU, of 45 classes.
      json 'loss = a[0]["metrics"]["dev"]["log_loss"]
print(f"log-loss on dev {loss:.2f}, below 1.5 where it learns")
sys.exit(loss >= 1.5)' "$output/high-rate/results.json"
      ;;
    peer)
      json 'print("times as fast as the peer: " + ", ".join(
    "%s %.2f (%.0f samples/s)" % (c["method"], c["ratio"]["median"], c["dtrain"]["median"]) for c in a[0]["cells"]))' \
        "$output/peer.json"
      ;;
    study-1)
      json 'print("%d trials in %.0f s" % (len(a[0]["trials"]), a[0]["run"]["seconds"]))' "$output/study-1/results.json"
      ;;
    study-4)
      json 'print("%d trials in %.0f s" % (len(a[0]["trials"]), a[0]["run"]["seconds"]))' "$output/study-4/results.json"
      [ -e "$output/study-1/results.json" ] || return 0
      json 'cells = [{(c["method"], c["samples"]): (c["learning_rate"], c["metrics"]) for c in each["cells"]} for each in a]
print(", %.1f times as fast as one rank, %s" % (a[0]["run"]["seconds"] / a[1]["run"]["seconds"],
    "the same results" if cells[0] == cells[1] else "OTHER RESULTS"))
sys.exit(cells[0] != cells[1])' "$output/study-1/results.json" "$output/study-4/results.json"
      ;;
  esac
}

table=$output/table.md
printf '| part | result | seconds | what |\n|---|---|---:|---|\n' >"$table"
failed=0
# Adds a part's line to the table and prints it.
settle() {
  local part=$1 code seconds box result last what=""
  is_in "$part" "${parts[@]}" || return 0
  if [ -e "$output/$part.skipped" ]; then
    result=skipped seconds=0 what=$(cat "$output/$part.skipped")
  else
    read -r code seconds box <"$output/$part.end"
    result=passed
    last=$(grep -v '^[[:space:]]*$' "$output/$part.log" | tail -1 | cut -c1-200) || true
    what=$(shown "$part" 2>>"$output/$part.log" | tr -d '\n') || result=failed
    case $code in
      0) ;;
      77) result=skipped what=$(grep -m 1 'not run' "$output/$part.log" || true) ;;
      124 | 137) result=failed what="no end within $box s${what:+; $what}" ;;
      *) result=failed what+="${what:+; }exit code $code: $last" ;;
    esac
  fi
  if [ $result = failed ]; then failed=1; fi
  printf '| %s | %s | %s | %s |\n' "$part" "$result" "$seconds" "${what//|//}" >>"$table"
  printf '%-10s %-8s %4s s  %s\n' "$part" "$result" "$seconds" "$what"
}

rooms=$build/tests
reference=$rooms/reference
embedded=$share/models/minilm-l6-h384
tests_of_program() {
  DTRAIN_TEST_PROGRAM=$program DTRAIN_TEST_MPIEXEC=${mpirun:-mpirun} DTRAIN_TEST_SHARE=$share \
    run "$1" "$2" "$python" -m pytest -q -rs --color=no -p no:cacheprovider "${@:3}" tests/launcher/cuda_test.py
}

# Tests measure nothing, and wait for the start of processes most of the time: all at once.
while read -r room filter; do
  if can_run "$room" "$rooms/$room/test_$room" "$reference"; then
    DTRAIN_TEST_DEVICE=cuda:0 run "$room" 200 "$rooms/$room/test_$room" --gtest_filter="$filter" &
  fi
done < <(sed -n 's/^dtrain_cuda_test(\([a-z]*\) "\([^"]*\)".*/\1 \2/p' tests/*/CMakeLists.txt)
if can_run program "$embedded/vocab.txt"; then tests_of_program program 200 & fi
wait
for part in model peft train program; do settle "$part"; done

nccl_test=$rooms/dist/test_dist_nccl
if can_run nccl-1 "$nccl_test"; then run nccl-1 30 ${mpirun:+"$mpirun" -np 1} "$nccl_test"; fi
settle nccl-1
if can_run_two nccl-2 "$nccl_test"; then
  NCCL_MULTI_RANK_GPU_ENABLE=1 run nccl-2 40 "$mpirun" -np 2 "$nccl_test"
fi
settle nccl-2
if can_run_two program-2 "$embedded/vocab.txt"; then
  NCCL_MULTI_RANK_GPU_ENABLE=1 tests_of_program program-2 90 -k two_ranks
fi
settle program-2

if can_run high-rate "$embedded/model.safetensors" "$share/tasks/wordnet/train.tsv"; then
  run high-rate 45 "$program" train --device cuda --precision bf16 --method lora --lr 5e-3 --samples 1000 --seed 1 \
    --test-samples 1000 --ood-samples 1000 --output "$output/high-rate"
fi
settle high-rate

# Nothing beside it: it measures.
if can_run peer "$embedded/model.safetensors" "$share/tasks/wordnet/train.tsv" "$build/bench/dtrain_batch_order"; then
  run peer 120 "$python" bench/compare_with_peer.py --device cuda --ranks 1 --precisions bf16 --pairs 1 --samples 2048 \
    --methods full lora head --build "$build" --output "$output/peer.json"
fi
settle peer

for ranks in 1 4; do
  if can_run study-$ranks "$embedded/model.safetensors" "$share/tasks/wordnet/train.tsv"; then
    if [ $ranks -gt 1 ] && [ -z "$mpirun" ]; then
      skip study-$ranks "no mpirun here"
    else
      run study-$ranks 75 ${mpirun:+"$mpirun" -np $ranks} "$program" compare --device cuda --precision bf16 --threads 1 \
        --methods full,head,lora --samples 500 --seeds 3 --search quick --ranks-per-trial 1 --trials-per-gpu 4 \
        --test-samples 1000 --ood-samples 1000 --output "$output/study-$ranks"
    fi
  fi
  settle study-$ranks
done

echo
cat "$table"
echo "in $SECONDS s; logs: $output"
exit $failed
