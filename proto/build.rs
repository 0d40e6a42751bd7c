//! Compiles the contract's messages without a `protoc` binary.

const FILES: [&str; 7] = [
    "muster/v1/trust.proto",
    "muster/v1/statement.proto",
    "muster/v1/link.proto",
    "muster/v1/bundle.proto",
    "muster/v1/agent.proto",
    "muster/v1/keeper.proto",
    "muster/v1/operator.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
