#!/usr/bin/env bash
# scripts/fuzz.sh [SECONDS [TARGET...]]: builds the fuzz targets with Clang (Debian: clang, libclang-rt-14-dev) in
# build-fuzz and runs each for so many seconds (30), one after the other. What they find lies in
# build-fuzz/findings/TARGET: mend it, and put the input into tests/fuzz/corpus/TARGET as found-...
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-30}
shift || true
[ -e build-fuzz/build.ninja ] || cmake --preset fuzz
if [ $# -eq 0 ]; then ninja -C build-fuzz fuzzers; else ninja -C build-fuzz "${@/#/fuzz_}"; fi
[ $# -gt 0 ] || set -- $(cd tests/fuzz/corpus && ls)
export OMP_NUM_THREADS=1
failed=0
printf '%-14s %12s %8s %10s %10s  %s\n' target executions seconds blocks features findings
for target in "$@"; do
  mkdir -p "build-fuzz/inputs/$target" "build-fuzz/findings/$target"
  log=build-fuzz/findings/$target/log
  # LibTorch is not built with the sanitizers, and keeps what it allocates once.
  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=0 nice -n 15 "build-fuzz/tests/fuzz/fuzz_$target" \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -malloc_limit_mb=2048 -max_len=32768 \
    -print_final_stats=1 -artifact_prefix="build-fuzz/findings/$target/" \
    "build-fuzz/inputs/$target" "tests/fuzz/corpus/$target" >"$log" 2>&1 || failed=1
  found=$(find "build-fuzz/findings/$target" -type f ! -name log | wc -l)
  last=$(grep -E '^#[0-9]+' "$log" | tail -1)
  printf '%-14s %12s %8s %10s %10s  %s\n' "$target" \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$seconds" \
    "$(sed -n 's/.*cov: \([0-9]*\).*/\1/p' <<<"$last")" "$(sed -n 's/.*ft: \([0-9]*\).*/\1/p' <<<"$last")" "$found"
done
exit $failed
