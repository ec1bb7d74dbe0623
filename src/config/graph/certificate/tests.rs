//! Real and made certificates, and files in which something is missing.

use proptest::prelude::*;

use super::fixture::{Made, make, pem};
use super::*;

/// Made by OpenSSL, until a time that needs four digits for its year.
const REAL: &str = "\
-----BEGIN CERTIFICATE-----
MIIBbjCCARWgAwIBAgIUM7Em8oEssMtsdGs4zfbD2M9Umr8wCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBeDAgFw0yNjExMjIxMjMyMTFaGA8yMTI2MTAyOTEyMzIxMVow
DDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABESWgx6npvdo
7646aPNG/8TSq5qwtwKCqzPYOpvJm6I2OPj7NMlcxhqgw1SD77ClO9ICjptCVjS3
BRaYNFmeGpajUzBRMB0GA1UdDgQWBBQ9BVBjNZQewOPcHN+Mgwyo63u6ZjAfBgNV
HSMEGDAWgBQ9BVBjNZQewOPcHN+Mgwyo63u6ZjAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0cAMEQCIGfxZ1m8ioZJKxo+GDcvjoqMp7QK8QOxQ8bw/xQBXSCF
AiAWjbSF/1/1I4fTVVk+nwNUGA6xrACsF162GaNtTIcDKA==
-----END CERTIFICATE-----
";

fn read(certificate: &str, key: &str) -> Result<ClientCertificate, (bool, CertificateFault)> {
    let folder = tempfile::tempdir().unwrap();
    let [certificate_file, key_file] = ["certificate", "key"].map(|name| folder.path().join(name));
    std::fs::write(&certificate_file, certificate).unwrap();
    std::fs::write(&key_file, key).unwrap();
    ClientCertificate::read(&certificate_file, &key_file)
}

#[test]
fn a_certificate_of_openssl_is_read_to_its_end() {
    let der = all(REAL).remove(0);
    let facts = Facts::read(&der).unwrap();
    assert_eq!(facts.not_after, Timestamp::parse("2126-10-29T12:32:11Z").unwrap());
    assert_eq!((facts.public_key.len(), facts.public_key[0]), (65, 4));
    let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &der));
    assert_eq!(thumbprint, "e5A5-91Oxyg31JdP0iZC1M9Bq2nfv_y3UrBtLsdDinM");
}

#[test]
fn a_certificate_and_its_key_belong_together_in_one_file_or_two() {
    let Made { certificate, key, thumbprint, .. } = make("270101000000Z");
    let both = format!("{key}{certificate}");
    for (certificate, key) in [(&certificate, &key), (&both, &both)] {
        let read = read(certificate, key).unwrap();
        assert_eq!(read.thumbprint, thumbprint);
        assert_eq!(read.not_after, Timestamp::parse("2027-01-01T00:00:00Z").unwrap());
        let shown = format!("{read:?}");
        assert!(shown.contains(&thumbprint) && shown.contains("2027-01-01"), "{shown}");
    }
    let other = make("270101000000Z");
    let fault = read(&certificate, &other.key).unwrap_err();
    assert_eq!(fault, (true, CertificateFault::OtherKey));
}

#[test]
fn of_a_chain_the_first_certificate_is_the_apps() {
    let Made { certificate, key, thumbprint, .. } = make("270101000000Z");
    let chain = format!("a note\r\n{certificate}\n{REAL}");
    assert_eq!(read(&chain, &key).unwrap().thumbprint, thumbprint);
}

#[test]
fn the_end_is_known_in_every_form() {
    for (written, expected) in [
        ("491231235959Z", "2049-12-31T23:59:59Z"),
        ("500101000000Z", "1950-01-01T00:00:00Z"),
        ("20500101000000Z", "2050-01-01T00:00:00Z"),
        ("99991231235959Z", "9999-12-30T23:59:59Z"),
    ] {
        let Made { certificate, key, .. } = make(written);
        let expected = Timestamp::parse(expected).ok();
        assert_eq!(read(&certificate, &key).ok().map(|read| read.not_after), expected, "{written}");
    }
    for wrong in ["270101000000", "270132000000Z", "2701010000+1Z", "aa0101000000Z", ""] {
        let Made { certificate, key, .. } = make(wrong);
        assert_eq!(read(&certificate, &key).unwrap_err(), (false, CertificateFault::NotX509));
    }
}

#[test]
fn what_is_missing_or_of_another_kind_is_told() {
    use CertificateFault::{EncryptedKey, KeyKind, NoCertificate, NoKey, NotX509, Unreadable};

    let Made { certificate, key, .. } = make("270101000000Z");
    let cut = certificate.replace("-----END CERTIFICATE-----", "");
    for (pem, expected) in [("", NoCertificate), (&cut, NoCertificate), (&key, NoCertificate)] {
        assert_eq!(read(pem, &key).unwrap_err(), (false, expected), "{pem}");
    }
    let no_x509 = pem("CERTIFICATE", b"hello");
    assert_eq!(read(&no_x509, &key).unwrap_err(), (false, NotX509));
    let headers = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00FAFF4D\n\nAAAA";
    let old = format!("-----BEGIN RSA PRIVATE KEY-----\n{headers}\n-----END RSA PRIVATE KEY-----");
    for (pem, expected) in [
        (String::new(), NoKey),
        (certificate.clone(), NoKey),
        ("-----BEGIN PRIVATE KEY-----\n#\n-----END PRIVATE KEY-----".to_owned(), NoKey),
        (pem("ENCRYPTED PRIVATE KEY", b"x"), EncryptedKey),
        (old, EncryptedKey),
        (pem("EC PRIVATE KEY", b"x"), KeyKind),
        (pem("PRIVATE KEY", b"x"), KeyKind),
        (pem("RSA PRIVATE KEY", b"x"), KeyKind),
    ] {
        assert_eq!(read(&certificate, &pem).unwrap_err(), (true, expected), "{pem}");
    }
    let nowhere = Path::new("/nonexistent/file");
    let fault = ClientCertificate::read(nowhere, nowhere).unwrap_err();
    assert_eq!(fault, (false, Unreadable(std::io::ErrorKind::NotFound)));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Facts::read(&bytes);
        let _ = (time(&bytes), all(&String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn a_damaged_certificate_never_makes_it_panic(at in 0..200_usize, byte in any::<u8>()) {
        let mut der = all(REAL).remove(0);
        der[at] = byte;
        let _ = Facts::read(&der);
        prop_assert_eq!(Facts::read(&der[..at]), None);
    }
}
