# Formats, and shows what the compiler and the lints say.
check:
    cargo fmt
    cargo clippy --all-targets --locked -- -D warnings

# Runs unit, integration and documentation tests, or those whose name holds FILTER.
test *FILTER:
    cargo test --locked {{FILTER}}

# Runs what the pipeline runs: every check, on a clean tree or not.
ci:
    ./.ci/run

# Starts the gateway: just run --config callgate.toml
run *ARGUMENTS:
    cargo run --locked -- serve {{ARGUMENTS}}

# Starts the simulator, which is Graph for people without a tenant.
simulate *ARGUMENTS:
    cargo run --locked -- simulate {{ARGUMENTS}}

# Shows one deletion end to end, then serves lines to try.
demo *ARGUMENTS:
    cargo run --locked --release -- demo {{ARGUMENTS}}

# Measures parsing and rendering.
bench:
    cargo bench --locked
