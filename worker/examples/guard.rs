//! The smallest program that holds the guard: what `Settings::guard` must start. The worker's tests use it.

fn main() -> std::process::ExitCode {
    proofhouse_worker::guard_main()
}
