//! Just enough DER to find the key in a certificate and the numbers in a key.

/// `SubjectPublicKeyInfo` of an X.509 certificate; none when it is no certificate.
pub(super) fn public_key(certificate: &[u8]) -> Option<&[u8]> {
    const VERSION: u8 = 0xa0;
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // Serial number, signature algorithm, issuer, validity, subject.
    for _ in 0..5 {
        rest = element(rest)?.2;
    }
    element(rest).map(|(whole, ..)| whole)
}

/// The first element: all of it, its content, and what is behind it. None when it is cut short.
pub(super) fn element(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (length, header) = match *der.get(1)? {
        short @ ..0x80 => (usize::from(short), 2),
        long => {
            let bytes = usize::from(long & 0x7f);
            // Nothing that is read here is longer than three bytes can say.
            let length = der.get(2..2 + bytes).filter(|_| (1..=3).contains(&bytes))?;
            let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, 2 + bytes)
        }
    };
    let (whole, rest) = der.split_at_checked(header + length)?;
    Some((whole, &whole[header..], rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_element_is_cut_off_at_its_length() {
        let der = [0x02, 0x01, 0x05, 0x09];
        assert_eq!(element(&der), Some((&der[..3], &der[2..3], &der[3..])));
        let long = [&[0x04, 0x81, 0x80][..], &[7; 0x80]].concat();
        assert_eq!(element(&long).map(|(_, content, _)| content.len()), Some(0x80));
        for short in
            [&[][..], &[0x02], &[0x02, 0x02, 0x05], &[0x02, 0x80], &[0x02, 0x84, 0, 0, 0, 0]]
        {
            assert_eq!(element(short), None, "{short:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_given_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(key) = public_key(&bytes) {
                prop_assert!(key.len() <= bytes.len());
            }
        }
    }
}
