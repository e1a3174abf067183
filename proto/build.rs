//! Compiles the protocol's definitions. Needs `protoc`; says which package has it when it is missing.

fn main() {
    let files = [
        "cellblock/v1/objects.proto",
        "cellblock/v1/agents.proto",
        "cellblock/v1/visits.proto",
    ];
    let descriptors =
        std::path::PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"))
            .join("cellblock.descriptors.bin");
    if let Err(error) = tonic_prost_build::configure()
        .bytes(".")
        .file_descriptor_set_path(descriptors)
        .compile_protos(&files, &["."])
    {
        println!(
            "cargo::error=protoc failed: {error}. It comes with the package protobuf-compiler (Debian), protobuf (FreeBSD, Homebrew, Fedora: protobuf-compiler); `cargo xtask prerequisites` installs it."
        );
        std::process::exit(1);
    }
}
