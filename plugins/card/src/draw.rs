//! Draws for `{{random}}`, `{{pick}}` and `{{roll}}`.
//!
//! A draw is a hash of what it depends on: the turn for `random` and `roll`, the conversation for `pick`, and its place in the
//! card for both. A turn that runs again composes the same prompt, and a pick stays the same from turn to turn.

/// The seeds of one prompt or greeting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeds {
    /// Differs from turn to turn.
    pub(crate) turn: u64,
    /// The same in every turn of a conversation.
    pub(crate) conversation: u64,
}

impl Seeds {
    pub(crate) fn new(turn: &str, conversation: &str) -> Self {
        Self { turn: hash(FNV_OFFSET, turn), conversation: hash(FNV_OFFSET, conversation) }
    }
}

/// The place of a draw: a part of the card, and how many draws of that part came before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) part: &'a str,
    pub(crate) index: u64,
}

/// A number below `sides`, which is at least 1.
pub(crate) fn draw(seed: u64, place: Place<'_>, sides: u64) -> u64 {
    let mixed = mix(hash(seed, place.part) ^ mix(place.index));
    // The remainder is biased by less than one in a billion: `sides` is a million at most.
    mixed % sides.max(1)
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// FNV-1a.
fn hash(seed: u64, text: &str) -> u64 {
    text.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

/// The finalizer of SplitMix64: FNV alone leaves the low bits of similar texts similar.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_reach_every_side_about_equally_often() {
        let mut counts = [0; 6];
        for turn in 0..6000 {
            let seeds = Seeds::new(&format!("turn-{turn}"), "conversation");
            let side = draw(seeds.turn, Place { part: "card.first_mes", index: turn % 3 }, 6);
            counts[usize::try_from(side).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_draw_depends_on_its_place() {
        let at = |part, index| draw(1, Place { part, index }, 1_000_000);
        assert_eq!(at("a", 0), at("a", 0));
        assert_ne!(at("a", 0), at("a", 1));
        assert_ne!(at("a", 0), at("b", 0));
    }
}
