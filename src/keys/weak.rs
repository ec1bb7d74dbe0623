//! Secrets that clients had before and that somebody could guess.

use uuid::Uuid;

use crate::secret::Secret;

/// The key in the examples of the old recorder's documentation.
const SAMPLE: u128 = 0x74c8_eea0_50c6_40b2_9f3e_252e_d501_c3c8;

/// Why a secret (a GUID in any spelling) could be guessed, as a sentence; none when nothing speaks
/// against it. One that was made with few random bits cannot be told from one that was made with
/// many.
pub(crate) fn weakness(secret: &Secret<String>) -> Option<&'static str> {
    let Ok(guid) = Uuid::try_parse(secret.expose()) else {
        return Some("It is no GUID.");
    };
    let bits = guid.as_u128();
    if bits == SAMPLE {
        Some("It is the example of the old recorder's documentation, which everybody knows.")
    } else if is_regular(bits) || distinct_digits(bits) < 6 {
        Some("It follows a pattern, so somebody made it up.")
    } else if matches!(guid.get_version_num(), 1 | 2) {
        Some(
            "It was made from a clock and a machine's address (GUID version 1 or 2), so who knows \
             these can guess it.",
        )
    } else {
        None
    }
}

/// Bytes or digits follow from those before by the same step: all are equal, or they count. Version
/// and variant may have been written over the pattern; each is in two of the steps.
fn is_regular(bits: u128) -> bool {
    let bytes = bits.to_be_bytes();
    let byte_steps: Vec<_> = bytes.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    let digits = digits(bits);
    let digit_steps: Vec<_> =
        digits.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]) & 0xf).collect();
    has_one_step(&byte_steps) || has_one_step(&digit_steps)
}

/// All but four are the same.
fn has_one_step(steps: &[u8]) -> bool {
    let alike = |step| steps.iter().map(|other| usize::from(other == step)).sum::<usize>();
    steps.iter().any(|step| alike(step) + 4 >= steps.len())
}

fn distinct_digits(bits: u128) -> u32 {
    digits(bits).iter().fold(0_u16, |seen, digit| seen | 1 << digit).count_ones()
}

/// The 32 hexadecimal digits.
fn digits(bits: u128) -> Vec<u8> {
    bits.to_be_bytes().iter().flat_map(|byte| [byte >> 4, byte & 0xf]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_weak(text: &str) -> bool {
        weakness(&Secret::new(text.to_owned())).is_some()
    }

    #[test]
    fn what_somebody_could_guess_is_weak() {
        for weak in [
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "abababab-abab-abab-abab-abababababab",
            "00010203-0405-0607-0809-0a0b0c0d0e0f",
            "0f0e0d0c-0b0a-0908-0706-050403020100",
            "01234567-89ab-cdef-0123-456789abcdef",
            "01234567-89ab-4def-8123-456789abcdef",
            "11112222-3333-4444-5555-111122223333",
            "74c8eea0-50c6-40b2-9f3e-252ed501c3c8",
            "74C8EEA050C640B29F3E252ED501C3C8",
            "{74c8eea0-50c6-40b2-9f3e-252ed501c3c8}",
            "d9428888-122b-11e1-b85c-61cd3cbb3210",
            "000003e8-cbb9-21ea-b201-00045a86c8a1",
            "no guid",
            "",
        ] {
            assert!(is_weak(weak), "{weak}");
        }
    }

    #[test]
    fn what_was_made_of_random_bits_is_not_weak() {
        for good in [
            "9b1f4c1e-7a53-4d0e-8f6b-2c9e5d7a1b34",
            "9B1F4C1E7A534D0E8F6B2C9E5D7A1B34",
            "0192f3a0-7c1b-7e52-9d43-5b6a8c7e1f20",
        ] {
            assert_eq!(weakness(&Secret::new(good.to_owned())), None, "{good}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in ".{0,64}") {
            let _ = is_weak(&text);
            prop_assert!(!text.chars().any(char::is_whitespace) || is_weak(&text), "no GUID has blanks");
        }

        #[test]
        fn the_spelling_of_a_guid_makes_no_difference(bits in any::<u128>()) {
            let guid = Uuid::from_u128(bits);
            let spelt = [guid.hyphenated().to_string(), guid.simple().to_string().to_uppercase()];
            prop_assert_eq!(is_weak(&spelt[0]), is_weak(&spelt[1]));
        }

        #[test]
        fn random_guids_of_version_4_are_not_weak(bits in any::<u128>()) {
            let guid = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
            prop_assume!(distinct_digits(guid.as_u128()) >= 6);
            prop_assert!(!is_weak(&guid.to_string()));
        }
    }
}
