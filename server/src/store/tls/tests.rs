use super::*;

#[test]
fn a_star_stands_for_one_label() {
    assert!(covers("db.example.test", "DB.example.test"));
    assert!(covers("*.example.test", "db.example.test"));
    for (pattern, host) in [
        ("*.example.test", "a.b.example.test"),
        ("*.example.test", "example.test"),
        ("db.example.test", "db2.example.test"),
        ("d*.example.test", "db.example.test"),
    ] {
        assert!(!covers(pattern, host), "{pattern} {host}");
    }
}

#[test]
fn every_mode_has_a_name() {
    for (name, mode) in Mode::NAMES {
        assert_eq!(mode.name(), name);
    }
}

/// What SCRAM binds to is the hash that the certificate is signed with (RFC 5929, section 4.1).
#[test]
fn the_end_point_is_the_hash_of_the_certificate() {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["db.example.test".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    assert_eq!(
        end_point(certificate.der()),
        Some(Sha256::digest(certificate.der()).to_vec())
    );
    assert_eq!(end_point(&CertificateDer::from(vec![1, 2, 3])), None);
}
