//! `[limits]`: how much one user and one address may use the host. The limits of an API key belong to the key.

use std::num::NonZeroU32;

use serde::Serialize;

use crate::section::Section;

/// How much one user and one address may use the host. `None` means without limit.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Allowance {
    /// Requests of one user.
    pub user: Option<Quota>,
    /// Turns of one user at the same time.
    pub turns: Option<u32>,
    /// Tokens of the model, input and output, that one user may use in a day.
    pub tokens_per_day: Option<u64>,
    /// Requests of one address.
    pub address: Option<Quota>,
}

/// A token bucket: in any period at most `burst` requests pass, and `per_minute` more for each minute of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Quota {
    /// The sustained rate.
    pub per_minute: NonZeroU32,
    /// Requests that may come at once after a pause.
    pub burst: NonZeroU32,
}

/// Requests per minute and burst of one user. A person with a few open pages stays far below; a script in a tight loop
/// does not.
const USER: (u32, u32) = (300, 60);
/// Requests per minute and burst of one address, which many people may share.
const ADDRESS: (u32, u32) = (1200, 300);
/// Turns of one user at the same time.
const TURNS: u32 = 8;

const MAX_NUMBER: u64 = 1_000_000;

/// Reads the section. Without authentication the defaults do not apply, and only limits that the file states are in effect.
pub(crate) fn read(mut section: Section<'_, '_>, authentication_required: bool) -> Allowance {
    let mut user = section.table("user");
    let of_user = quota(&mut user, USER, authentication_required);
    let turns = number(&mut user, "turns", TURNS, authentication_required);
    let tokens_per_day = user.optional_count("tokens_per_day", 1..=u64::from(u32::MAX) * 1000);
    user.finish();
    let mut address = section.table("address");
    let of_address = quota(&mut address, ADDRESS, authentication_required);
    address.finish();
    section.finish();
    Allowance { user: of_user, turns: turns.map(NonZeroU32::get), tokens_per_day, address: of_address }
}

/// One of the two numbers in the file is enough for a limit; the other then has its default.
fn quota(
    section: &mut Section<'_, '_>,
    (per_minute, burst): (u32, u32),
    defaults_apply: bool,
) -> Option<Quota> {
    let applies = defaults_apply || section.has("per_minute") || section.has("burst");
    let per_minute = number(section, "per_minute", per_minute, applies);
    let burst = number(section, "burst", burst, applies);
    Some(Quota { per_minute: per_minute?, burst: burst? })
}

fn number(
    section: &mut Section<'_, '_>,
    key: &'static str,
    default: u32,
    default_applies: bool,
) -> Option<NonZeroU32> {
    let is_written = section.has(key);
    let number = section.count(key, default.into(), 1..=MAX_NUMBER);
    if !default_applies && !is_written {
        return None;
    }
    u32::try_from(number).ok().and_then(NonZeroU32::new)
}
