#!/usr/bin/env bash
# scripts/fuzz.sh [--jobs N] [TIME [TARGET...]]
#
# Fuzzes the parsers of tests/fuzz with Clang's libFuzzer and the address and undefined-behaviour sanitizers. Builds the
# targets in build-fuzz, runs each of them, or those that are named, for TIME (30s; 90, 10m, 1h), N at once (1), and prints
# a table: executions, edges reached, inputs kept, peak memory, findings.
#
#   scripts/fuzz.sh 1h                      an hour for each target
#   scripts/fuzz.sh --jobs 2 10m tokenizer adapter
#
# A target begins with tests/fuzz/corpus/TARGET and with what earlier runs have kept in build-fuzz/inputs/TARGET. After a
# finding it goes on with what is left of its time, up to ten findings. A run leaves in a folder of its own,
# build-fuzz/runs/DATE: report.md (the table), TARGET.log, and findings/TARGET with the inputs that were found. Mend what
# they show, and put them into the corpus as found-...
#
# Exit code: 0 without findings, 1 with some or where a target did not run, 2 for arguments that cannot be.
set -euo pipefail
cd "$(dirname "$0")/.."

most_findings=10
say() { echo "fuzz: $*" >&2; }
refuse() {
  say "$*"
  exit 2
}

jobs=1
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h)
      sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "$0"
      exit 0
      ;;
    --jobs)
      jobs=${2:-}
      [[ $jobs =~ ^[1-9][0-9]*$ ]] || refuse "--jobs: expected a whole number from 1, found '$jobs'"
      shift 2
      ;;
    -*) refuse "unknown option '$1' (scripts/fuzz.sh --help)" ;;
    *) break ;;
  esac
done
[[ ${1:-30s} =~ ^([1-9][0-9]*)([smh]?)$ ]] || refuse "expected a time such as 90, 10m or 1h, found '$1'"
case ${BASH_REMATCH[2]} in
  h) seconds=$((BASH_REMATCH[1] * 3600)) ;;
  m) seconds=$((BASH_REMATCH[1] * 60)) ;;
  *) seconds=${BASH_REMATCH[1]} ;;
esac
shift || true
known=()
for corpus in tests/fuzz/corpus/*; do known+=("${corpus##*/}"); done
targets=("$@")
[ $# -gt 0 ] || targets=("${known[@]}")
for target in "${targets[@]}"; do
  [ -d "tests/fuzz/corpus/$target" ] || refuse "unknown target '$target'; there are: ${known[*]}"
done

scratch=$(mktemp -d "$(test -d /dev/shm && echo /dev/shm || echo /tmp)/dtrain-fuzz-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
if ! echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' |
  clang++ -x c++ -fsanitize=fuzzer,address - -o "$scratch/probe" 2>"$scratch/probe.log"; then
  cat "$scratch/probe.log" >&2
  say "expected Clang with libFuzzer: apt-get install -y --no-install-recommends $(paste -sd ' ' scripts/debian-packages-fuzz.txt)"
  exit 1
fi

# Three GB a compiler process, and never more than there are cores.
memory=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
compilers=$((memory / 3000000))
cores=$(nproc)
compilers=$((compilers < 1 ? 1 : compilers < cores ? compilers : cores))
[ -e build-fuzz/build.ninja ] || cmake --preset fuzz
ninja -C build-fuzz -j "$compilers" "${targets[@]/#/fuzz_}"

run=build-fuzz/runs/$(date +%Y-%m-%d-%H%M%S)
mkdir -p "$run/findings" "$scratch/rows"
# LibTorch is not built with the sanitizers, and keeps what it allocates once.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=0 OMP_NUM_THREADS=1

count() { find "$1" -type f | wc -l; }

# The words in quotes of a target's corpus, as libFuzzer's dictionary: the keys and names that a parser knows.
dictionary() {
  cat "tests/fuzz/corpus/$1"/* | LC_ALL=C grep -aoE '"[A-Za-z_][A-Za-z0-9_.-]{0,40}"' | LC_ALL=C sort -u |
    sed 's/"/\\"/g; s/.*/"&"/' || true
}

# The sums of a log, of one start or of several: executions, edges, inputs kept, peak memory in MiB.
sums() {
  awk '/^stat::number_of_executed_units:/ { executions += $2 }
       /^stat::peak_rss_mb:/ && $2 + 0 > peak { peak = $2 + 0 }
       /^#[0-9]/ { for (i = 1; i < NF; ++i) {
                     if ($i == "cov:" && $(i + 1) + 0 > edges) edges = $(i + 1) + 0
                     if ($i == "corp:") kept = $(i + 1) + 0 } }
       END { print executions + 0, edges + 0, kept + 0, peak + 0 }' "$1"
}

row() { printf '%-14s %12s %8s %8s %8s %9s  %s\n' "$@"; }

# Runs a target to the end of its time and leaves its line in rows/TARGET: "ok" or "failed", then its columns.
fuzz() {
  local target=$1 log=$run/$1.log findings=$run/findings/$1 began=$SECONDS left=$seconds before found=0 code note="" result=ok
  mkdir -p "build-fuzz/inputs/$target" "$findings" "$scratch/$target"
  local options=()
  dictionary "$target" >"$scratch/$target.dict"
  if [ -s "$scratch/$target.dict" ]; then options=("-dict=$scratch/$target.dict"); fi  # libFuzzer refuses an empty one
  while [ "$left" -gt 0 ]; do
    before=$found code=0
    TMPDIR="$scratch/$target" nice -n 15 "build-fuzz/tests/fuzz/fuzz_$target" \
      -max_total_time="$left" -timeout=10 -rss_limit_mb=4096 -malloc_limit_mb=2048 -max_len=32768 \
      "${options[@]}" -print_final_stats=1 -interrupted_exitcode=72 -artifact_prefix="$findings/" \
      "build-fuzz/inputs/$target" "tests/fuzz/corpus/$target" >>"$log" 2>&1 || code=$?
    found=$(count "$findings")
    # An end of its own, or an interrupt from the keyboard.
    if [ $code -eq 0 ] || [ $code -eq 72 ]; then break; fi
    result=failed
    if [ "$found" -eq "$before" ]; then
      note="; ended early (exit code $code)"
      break
    fi
    if [ "$found" -ge $most_findings ]; then
      note="; ended early"
      break
    fi
    left=$((seconds - (SECONDS - began)))
  done
  [ "$found" -eq 0 ] || result=failed
  local executions edges kept peak elapsed=$((SECONDS - began))
  read -r executions edges kept peak < <(sums "$log")
  local columns=("$target" "$executions" "$((executions / (elapsed > 0 ? elapsed : 1)))" "$edges" "$kept" "$peak"
    "$found$note")
  (IFS=$'\t' && echo "$result"$'\t'"${columns[*]}") >"$scratch/rows/$target"
  row "${columns[@]}"
}

stopped=0
trap 'stopped=1' INT
row target executions exec/s edges inputs "peak MiB" findings
for target in "${targets[@]}"; do
  while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
  [ $stopped -eq 0 ] || break
  fuzz "$target" &
done
while [ "$(jobs -rp | wc -l)" -gt 0 ]; do wait -n || true; done

failed=0
{
  echo "$(date +%Y-%m-%d), $(git describe --always --dirty 2>/dev/null || echo 'no commit'), $(clang++ --version | head -1)," \
    "$cores cores of $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -1), $seconds s each, $jobs at once"
  echo
  echo "| target | executions | executions/s | edges | inputs | peak MiB | findings |"
  echo "|---|---:|---:|---:|---:|---:|---:|"
  for target in "${targets[@]}"; do
    [ -e "$scratch/rows/$target" ] || continue
    IFS=$'\t' read -r _ name executions rate edges kept peak found <"$scratch/rows/$target"
    echo "| $name | $executions | $rate | $edges | $kept | $peak | $found |"
  done
} >"$run/report.md"
for target in "${targets[@]}"; do
  if [ ! -e "$scratch/rows/$target" ] || grep -q '^failed' "$scratch/rows/$target"; then failed=1; fi
done
find "$run/findings" -type d -empty -delete
echo "written: $run/report.md"
if [ -d "$run/findings" ]; then echo "found: $run/findings"; fi
exit $failed
