//! Rules for an Image: where its tarball comes from, and by which digest it is known.

use super::paths;
use crate::image::ImageSpec;
use crate::path::FieldPath;
use crate::structural::cut;
use crate::violation::Findings;

/// Hexadecimal digits of a SHA-256.
const DIGEST_DIGITS: usize = 64;

/// Octets of a URL: it is one word of a command, and nothing real comes near.
const URL_BYTES_MAX: usize = 1024;

/// Octets of a version.
const VERSION_BYTES_MAX: usize = 64;

pub(super) fn validate(spec: &ImageSpec, path: &FieldPath, findings: &mut Findings) {
    let release = &spec.release;
    let at = path.field("release");
    tarball(&release.tarball, &at.field("tarball"), findings);
    let digits = release.sha256.as_bytes();
    let is_digest = digits.len() == DIGEST_DIGITS
        && digits
            .iter()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if !is_digest {
        let message = if release.sha256.is_empty() {
            "is missing: nothing is unpacked that could be another file".to_owned()
        } else {
            format!("`{}` is no SHA-256", cut(&release.sha256))
        };
        findings.add(
            &at.field("sha256"),
            message,
            format!("write {DIGEST_DIGITS} hexadecimal digits in lower case: the line of base.txz in the release's MANIFEST, or what `sha256 -q` prints"),
        );
    }
    if let Some(version) = &release.version {
        let is_version = (1..=VERSION_BYTES_MAX).contains(&version.len())
            && version
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        if !is_version {
            findings.add(
                &at.field("version"),
                format!("`{}` is no release", cut(version)),
                "write it as uname -r does, such as 15.1-RELEASE",
            );
        }
    }
}

fn tarball(tarball: &str, path: &FieldPath, findings: &mut Findings) {
    let rest = tarball
        .strip_prefix("https://")
        .or_else(|| tarball.strip_prefix("http://"));
    if let Some(rest) = rest {
        let host = rest.split('/').next().unwrap_or_default();
        let is_plain = tarball.len() <= URL_BYTES_MAX
            && tarball.bytes().all(|byte| byte.is_ascii_graphic())
            && !host.is_empty()
            && rest.len() > host.len() + 1;
        if !is_plain {
            findings.add(
                path,
                format!("`{}` is no URL of a file", cut(tarball)),
                "write it as https://HOST/PATH, without blanks",
            );
        } else if host.contains('@') {
            findings.add(
                path,
                "the URL has a user or a password in it, which everybody could read",
                "leave it out, and use a server or a path that needs none",
            );
        }
    } else if tarball.is_empty() {
        findings.add(
            path,
            "is missing",
            "write the path of a base.txz on the hosts, or its http or https URL",
        );
    } else {
        findings.check(path, paths::absolute(tarball));
    }
}
