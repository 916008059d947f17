#!/bin/bash
# Runs fuzz targets one after the other, and prints a table. Fails where one crashes, hangs or takes too much memory.
# usage: tests/setup/fuzz.sh PROGRAM FOLDER SECONDS      (FUZZ_ONLY=request,log: these targets alone)
set -euo pipefail
program=$1 folder=$2 seconds=$3
corpus=$(dirname "$0")/../../fuzz/corpus
dictionary=$(dirname "$0")/../../fuzz/dictionary
IFS=, read -ra targets <<<"${FUZZ_ONLY:-$(cd "$corpus" && echo * | tr ' ' ,)}"
mkdir -p "$folder/artifacts" "$folder/logs"
failed=0 rows=()

# of LOG NAME: one of libFuzzer's figures
of() { sed -n "s/^stat::$2: *//p" "$1"; }

for target in "${targets[@]}"; do
    [ -d "$corpus/$target" ] || { echo "fuzz/corpus has no $target" >&2; exit 2; }
    log=$folder/logs/$target
    mkdir -p "$folder/corpus/$target"
    echo "fuzzing $target for $seconds s ($log)"
    end=ok
    FUZZ_TARGET=$target "$program" "$folder/corpus/$target" "$corpus/$target" -dict="$dictionary" \
        -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$folder/artifacts/$target-" >"$log" 2>&1 || end=FAILED
    if [ "$end" != ok ]; then
        failed=1
        grep -aE '^(thread|assertion|==[0-9]+==|SUMMARY|artifact_prefix|Test unit)|panicked' "$log" | cut -c1-300 >&2 || true
    fi
    last=$(grep -aE '^#[0-9]+.* cov: ' "$log" | tail -1)
    coverage=$(sed -nE 's/.* cov: ([0-9]+).*/\1/p' <<<"$last")
    units=$(sed -nE 's|.* corp: ([0-9]+)/.*|\1|p' <<<"$last")
    rows+=("$(printf '%-14s %12s %9s %7s %9s %9s  %s' "$target" "$(of "$log" number_of_executed_units)" \
        "$(of "$log" average_exec_per_sec)" "$units" "$coverage" "$(of "$log" peak_rss_mb)" "$end")")
done

printf '\n%-14s %12s %9s %7s %9s %9s  %s\n' target executions "a second" corpus coverage "peak MiB" end
printf '%s\n' "${rows[@]}"
exit "$failed"
