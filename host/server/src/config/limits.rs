//! `[limits]`: how much one user and one address may ask of the host. What an API key may is said where it is made.

use std::num::NonZeroU32;

use masque_store::Quota;

use super::section::Section;
use super::types::Allowance;

/// A person with a few pages open stays far below; a script that forgot to wait does not.
const USER: (u32, u32) = (300, 60);
/// Many people may share one address.
const ADDRESS: (u32, u32) = (1200, 300);
/// Turns of one user at the same time.
const TURNS: u32 = 8;

const MOST: u64 = 1_000_000;

/// `moderated` is whether there is authentication: without it, only what is written down is a limit.
pub(super) fn read(mut section: Section<'_, '_>, moderated: bool) -> Allowance {
    let mut user = section.table("user");
    let of_user = quota(&mut user, USER, moderated);
    let turns = number(&mut user, "turns", TURNS, moderated);
    let tokens_per_day = user.optional_count("tokens_per_day", 1..=u64::from(u32::MAX) * 1000);
    user.finish();
    let mut address = section.table("address");
    let of_address = quota(&mut address, ADDRESS, moderated);
    address.finish();
    section.finish();
    Allowance { user: of_user, turns: turns.map(|turns| turns.get()), tokens_per_day, address: of_address }
}

/// One of the two numbers is enough to ask for a limit; the other is its default then.
fn quota(section: &mut Section<'_, '_>, (per_minute, burst): (u32, u32), moderated: bool) -> Option<Quota> {
    let asked = moderated || section.has("per_minute") || section.has("burst");
    let per_minute = number(section, "per_minute", per_minute, asked);
    let burst = number(section, "burst", burst, asked);
    Some(Quota { per_minute: per_minute?, burst: burst? })
}

fn number(
    section: &mut Section<'_, '_>,
    key: &'static str,
    default: u32,
    applies: bool,
) -> Option<NonZeroU32> {
    let written = section.has(key);
    let number = section.count(key, default.into(), 1..=MOST);
    if !applies && !written {
        return None;
    }
    u32::try_from(number).ok().and_then(NonZeroU32::new)
}
