#!/bin/sh
# rustc for `make fuzz`, as RUSTC_WORKSPACE_WRAPPER: the members of the workspace alone are instrumented, so that libraries
# are those that other builds made. All of it is stable: libFuzzer comes with the crate libfuzzer-sys.
exec "$@" --cfg fuzzing -Copt-level=1 -Cdebug-assertions=on -Coverflow-checks=on -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
