//! Which turns are recorded, and with what. Pure.

use masque_runtime::ReportContent;
use masque_store::TurnId;

/// What the records of turns contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordContent {
    /// Everything, with the texts of prompts, memories and replies.
    Full,
    /// Digests, sizes, counts and times, and no texts.
    Digests,
    /// There are no records.
    Off,
}

/// Which turns are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecordOptions {
    /// What a record contains.
    pub content: RecordContent,
    /// The share of turns that are recorded, from 0 to 1.
    pub share: f64,
}

impl RecordOptions {
    /// Nothing is recorded.
    pub const OFF: Self = Self { content: RecordContent::Off, share: 0.0 };

    /// What is collected for the record of this turn; `None` if it has none. All attempts of a turn are treated alike, on every
    /// host.
    pub(crate) fn content_for(&self, turn: TurnId) -> Option<ReportContent> {
        let content = match self.content {
            RecordContent::Full => ReportContent::Full,
            RecordContent::Digests => ReportContent::Digests,
            RecordContent::Off => return None,
        };
        is_within_share(turn, self.share).then_some(content)
    }
}

impl RecordContent {
    /// The name in the configuration and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Digests => "digests",
            Self::Off => "off",
        }
    }
}

/// Whether the turn is among the share. The random end of its id decides.
fn is_within_share(turn: TurnId, share: f64) -> bool {
    /// The last 32 bits of a UUIDv7 are random.
    const RANGE: f64 = 4_294_967_296.0;
    let random = u32::try_from(turn.as_uuid().as_u128() & u128::from(u32::MAX)).unwrap_or_default();
    f64::from(random) < share * RANGE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(last: u32) -> TurnId {
        format!("01998a3e-7c1f-7d52-9b7e-3f1d{last:08x}").parse().unwrap()
    }

    #[test]
    fn a_share_of_turns_is_recorded_by_their_ids() {
        for (last, share, is_recorded) in
            [(0, 0.0, false), (u32::MAX, 1.0, true), (0x7fff_ffff, 0.5, true), (0x8000_0000, 0.5, false)]
        {
            let options = RecordOptions { content: RecordContent::Digests, share };
            assert_eq!(options.content_for(turn(last)).is_some(), is_recorded, "{last:x} {share}");
        }
    }

    #[test]
    fn nothing_is_recorded_while_records_are_off() {
        let options = RecordOptions { share: 1.0, ..RecordOptions::OFF };
        assert_eq!(options.content_for(turn(0)), None);
    }
}
