# make demo     one real test on a fresh testbed, with everything embedded; goes on serving (DEMO_ONCE=1: ends with its outcome)
# make test     every test but those that only `verify` runs, against real servers
# make verify   those too: containers, browser, long faults, a short form of the figures
# make faults   faults over all kinds on everything that runs, for SECONDS=900, from SEED=1
# make bench    how long things take, beside what the machine itself needs for them, against the goals (20 minutes)
# make britney BRITNEY_DIR=…  a real britney (a checkout of britney2-ubuntu) asks, waits and migrates
# make upstream OPERATORS_DIR=…  the old system's writer, publisher and collectors (a checkout of
#               ubuntu-autopkgtest-operators) follow Proofhouse and write what it publishes
# make simulate  three simulated days before the scheduler: waiting times, and the plots of docs/explanation/scheduling.md
# make screenshots FOLDER=…  pictures of every page, wide and narrow, light and dark, empty and full (PACKAGES=25000 of one upload)
# make lint     format, clippy, licences, sources and advisories of dependencies, shell scripts (ADVISORY_DB=… names a
#               copy of RustSec's advisory database where it cannot be fetched)
# make fuzz     gives each reader of what others write any bytes, for SECONDS=600 each (FUZZ_ONLY=request,log: some of them)
# Each installs with apt-get what it needs, and says so first. What is built is kept in a folder that outlives the clone.

cache := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/proofhouse
export CARGO_TARGET_DIR ?= $(cache)/target
setup := tests/setup

.PHONY: demo test verify faults bench britney upstream simulate screenshots fuzz lint

# The dev profile: it builds in a quarter of the time, and `test` shares it.
demo:
	@$(setup)/install.sh demo
	cargo build --locked -p proofhouse
	@exec $(setup)/own-root.sh "$(CARGO_TARGET_DIR)/debug/proofhouse" demo

# The program with places at which faults strike, by another name.
build_faulty := cargo build --locked -p proofhouse --features faults --bin proofhouse-faults

test:
	@$(setup)/install.sh test
	@$(setup)/room.sh "$(CARGO_TARGET_DIR)"
	cargo build --locked --workspace --bins
	$(build_faulty)
	@$(setup)/own-root.sh $(setup)/run.sh --locked --workspace

verify:
	@$(setup)/install.sh verify
	@$(setup)/room.sh "$(CARGO_TARGET_DIR)"
	cargo build --locked --workspace --bins
	$(build_faulty)
	@$(setup)/previous.sh "$(cache)" "$(CARGO_TARGET_DIR)/debug"
	@$(setup)/own-root.sh $(setup)/run.sh --locked --workspace --features proofhouse-tests/verify

# SECONDS=900 and SEED=1, where they are not set; as root.
faults: export SECONDS ?= 900
faults: export SEED ?= 1
faults:
	@$(setup)/install.sh faults
	cargo build --locked -p proofhouse
	$(build_faulty)
	@$(setup)/own-root.sh $(setup)/run.sh --locked -p proofhouse-tests --features faults --test faults -- --nocapture

britney:
	@test -d "$(BRITNEY_DIR)" || { echo 'BRITNEY_DIR must name a checkout of britney2-ubuntu' >&2; exit 2; }
	@$(setup)/install.sh britney
	cargo build --locked -p proofhouse
	@BRITNEY_DIR=$$(realpath "$(BRITNEY_DIR)") $(setup)/run.sh --locked -p proofhouse-tests --features britney --test britney

upstream:
	@test -d "$(OPERATORS_DIR)" || { echo 'OPERATORS_DIR must name a checkout of ubuntu-autopkgtest-operators' >&2; exit 2; }
	@$(setup)/install.sh upstream
	cargo build --locked -p proofhouse
	@OPERATORS_DIR=$$(realpath "$(OPERATORS_DIR)") $(setup)/run.sh --locked -p proofhouse-tests --features upstream --test upstream

# Three runs of each figure, one of the site's, in the release profile. BENCH_JSON=FILE keeps them; BENCH_ONLY=idle,burst takes
# some. The site has 1,000,000 results, on SQLite a tenth: BENCH_ONLY=site BENCH_RESULTS=10000000 takes about an hour and 20 GB.
bench:
	@$(setup)/install.sh test
	cargo build --locked --release -p proofhouse
	BENCH_FULL=1 cargo test --locked --release -p proofhouse-tests --features bench --test bench -- --nocapture

deny_version := 0.20.2
deny := $(cache)/cargo-deny-$(deny_version)/bin/cargo-deny

simulate:
	@$(setup)/install.sh simulate
	cargo run --locked --release -p proofhouse-dispatcher --example simulate docs/explanation

screenshots:
	@test -n "$(FOLDER)" || { echo 'FOLDER must name a folder for the pictures' >&2; exit 2; }
	@$(setup)/install.sh verify
	cargo build --locked -p proofhouse
	cargo run --locked -p proofhouse-tests --example screenshots -- "$(FOLDER)" $(or $(PACKAGES),25000)

# What it found before is kept in the cache and tried first; what breaks a reader lies there under artifacts.
fuzz:
	@$(setup)/install.sh fuzz
	RUSTC_WORKSPACE_WRAPPER=$$PWD/$(setup)/fuzz-rustc.sh cargo build --locked --release -p proofhouse-fuzz --features program
	@$(setup)/fuzz.sh "$(CARGO_TARGET_DIR)/release/fuzz" "$(cache)/fuzz" $(or $(SECONDS),600)

lint: $(deny)
	@$(setup)/install.sh lint
	@$(setup)/room.sh "$(CARGO_TARGET_DIR)"
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	$(deny) --workspace --all-features check bans licenses sources
	$(setup)/advisories.sh $(deny) "$(cache)/advisories"
	git ls-files '*.sh' .ci/run | xargs shellcheck

# Built once, in a temporary folder (a minute on two cores).
$(deny):
	@$(setup)/install.sh lint
	env -u CARGO_TARGET_DIR cargo install cargo-deny --version $(deny_version) --locked --no-default-features \
	    --profile dev --root "$(cache)/cargo-deny-$(deny_version)"
