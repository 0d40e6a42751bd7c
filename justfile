# Short names for what the scripts do; nothing is done here that they cannot do alone.

# Lists what there is.
default:
    @just --list

# All that has to pass before a change is taken.
ci:
    .ci/run

# Every test; needs root.
test:
    tests/run

# A test that takes long, by its name; without a name, which there are.
long name="":
    tests/long {{name}}

# What needs no root and little time.
quick:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- --deny warnings
    cargo test --package muster-proto --package muster-agent --package muster-controller
    cargo test --package muster-tests --test boundaries

# A small fleet to play with; `just demo down` takes it away. Needs root.
demo *arguments:
    packaging/demo {{arguments}}
