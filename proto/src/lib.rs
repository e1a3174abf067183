//! The wire protocol: the generated messages and services of `cellblock.v1`, and nothing else.
//!
//! Objects cross the wire as their JSON documents in a typed envelope; what is in the documents is `cellblock-schemas`' business.

/// Version 1 of the protocol.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    reason = "generated code; the documentation is in the .proto files"
)]
pub mod v1 {
    tonic::include_proto!("cellblock.v1");

    /// The descriptors of every service, for gRPC reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] =
        tonic::include_file_descriptor_set!("cellblock.descriptors");
}
