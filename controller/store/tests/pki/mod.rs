//! A certificate authority for one test, with a server and a client certificate, as files.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;

/// The files of one authority. They vanish with it.
pub(crate) struct Pki {
    _folder: TempDir,
    /// The authority's certificate.
    pub(crate) ca: PathBuf,
    /// Certificate and key of the server, for 127.0.0.1 and `etcd.example`.
    pub(crate) server: (PathBuf, PathBuf),
    /// Certificate and key of a client.
    pub(crate) client: (PathBuf, PathBuf),
}

impl Pki {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let certificate = params.self_signed(&key).expect("a certificate");
        let ca = write(folder.path(), "ca.pem", &certificate.pem());
        let issuer = Issuer::new(params, key);
        let names = vec!["127.0.0.1".to_owned(), "etcd.example".to_owned()];
        // etcd's own gateway connects to the server with the server's certificate, so that needs both usages.
        let both = [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let server = issue(folder.path(), "server", names, &both, &issuer);
        let usage = [ExtendedKeyUsagePurpose::ClientAuth];
        let client = issue(
            folder.path(),
            "client",
            vec!["cellblockd".to_owned()],
            &usage,
            &issuer,
        );
        Pki {
            _folder: folder,
            ca,
            server,
            client,
        }
    }
}

fn issue(
    folder: &Path,
    name: &str,
    names: Vec<String>,
    usages: &[ExtendedKeyUsagePurpose],
    issuer: &Issuer<'_, KeyPair>,
) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(names).expect("parameters");
    params.extended_key_usages = usages.to_vec();
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    let file = write(folder, &format!("{name}.pem"), &certificate.pem());
    (
        file,
        write(folder, &format!("{name}.key"), &key.serialize_pem()),
    )
}

fn write(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("a file in a temporary folder");
    path
}
