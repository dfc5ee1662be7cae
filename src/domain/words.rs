//! Digests as words, so that two custodians can compare what they see by voice.
//!
//! Invariant: the list has 2,048 words, so each stands for 11 bits; the most significant bits come first.
//! Spec: the English word list of BIP-39, and nothing else of it (there is no checksum).

use crate::jose::Digest;

/// Most words that a digest of 256 bits fills whole.
pub const MAX_WORDS: usize = 256 / 11;
/// Words that name a grant: 66 bits.
pub const GRANT_WORDS: usize = 6;
/// Words that pin a charter: 132 bits.
pub const CHARTER_WORDS: usize = 12;

/// The first `count` words of a digest; at most [`MAX_WORDS`].
#[must_use]
pub fn phrase(digest: &Digest, count: usize) -> Vec<&'static str> {
    let list = bip39::Language::English.word_list();
    let bit = |at: usize| {
        let byte = digest.as_bytes().get(at / 8).copied().unwrap_or_default();
        usize::from(byte >> (7 - at % 8) & 1)
    };
    (0..count.min(MAX_WORDS))
        .map(|word| (0..11).fold(0, |index, offset| index << 1 | bit(word * 11 + offset)))
        // Eleven bits are always within the list.
        .filter_map(|index| list.get(index).copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words 0 and 2,047, and one at each position of the bits.
    #[test]
    fn eleven_bits_each_most_significant_first() {
        assert_eq!(phrase(&Digest::from_bytes([0; 32]), 3), ["abandon"; 3]);
        assert_eq!(phrase(&Digest::from_bytes([0xff; 32]), 3), ["zoo"; 3]);
        let mut bytes = [0; 32];
        bytes[1] = 0b0010_0000; // the last bit of the first word
        bytes[2] = 0b0000_0100; // the last bit of the second
        assert_eq!(phrase(&Digest::from_bytes(bytes), 3), ["ability", "ability", "abandon"]);
    }

    /// Computed with Python: `int.from_bytes(sha256(b"breakglass").digest())`, cut from the top, over the list of
    /// trezor/python-mnemonic.
    #[test]
    fn golden_phrase() {
        let words = phrase(&Digest::of(b"breakglass"), CHARTER_WORDS).join(" ");
        assert_eq!(words, "foil bachelor burden deal angry lady absurd damage stand remove farm mountain");
    }

    #[test]
    fn a_shorter_phrase_is_the_start_of_a_longer() {
        let digest = Digest::of(b"x");
        let all = phrase(&digest, usize::MAX);
        assert_eq!(all.len(), MAX_WORDS);
        assert_eq!(phrase(&digest, GRANT_WORDS), all[..GRANT_WORDS]);
    }
}
