//! Which users of a restored database the erasure list names.

use std::collections::HashMap;

use uuid::Uuid;

use super::erasure_key::{ErasedName, Installation};
use super::erasure_list::ErasureEntry;
use crate::error::StoreError;
use crate::owner::Owner;

/// The entries of an erasure list, ready to be compared with the users of a database that was restored.
///
/// A user is erased if an entry names them and their surrogate id is the one that was erased, or older than the erasure. A
/// surrogate id begins with the time at which it was made (UUIDv7), so a person who came back after the erasure, under a new
/// id, keeps what they have stored since.
#[derive(Debug)]
pub struct ErasureReplay {
    installation: Installation,
    entries: HashMap<ErasedName, Vec<ErasureEntry>>,
}

impl ErasureReplay {
    /// Takes the entries of a list.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if an entry is of another installation: its names can't be compared.
    pub fn new(installation: Installation, list: Vec<ErasureEntry>) -> Result<Self, StoreError> {
        let mut entries: HashMap<ErasedName, Vec<ErasureEntry>> = HashMap::new();
        for entry in list {
            if entry.installation != installation.id {
                return Err(StoreError::Refused(format!(
                    "the erasure list is of the installation {}, and the database of {}",
                    entry.installation, installation.id
                )));
            }
            entries.entry(entry.name.clone()).or_default().push(entry);
        }
        Ok(Self { installation, entries })
    }

    /// The entry by which a user has to be erased, if there is one.
    pub fn entry_of(&self, user: Uuid, owner: &Owner) -> Option<&ErasureEntry> {
        let name = self.installation.erased_name(owner);
        let entries = self.entries.get(&name)?;
        entries.iter().find(|entry| entry.user == user || is_made_before(user, entry.erased_at))
    }
}

/// Whether a surrogate id was made before a time in milliseconds. One without a time counts as older.
fn is_made_before(user: Uuid, at: i64) -> bool {
    let Some(made) = user.get_timestamp() else { return true };
    let (seconds, nanoseconds) = made.to_unix();
    let millis = u128::from(seconds) * 1000 + u128::from(nanoseconds / 1_000_000);
    i64::try_from(millis).is_ok_and(|millis| millis < at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ana() -> Owner {
        Owner { tenant: "default".into(), issuer: "masque".into(), subject: "ana".into() }
    }

    fn installation() -> Installation {
        Installation::new(Uuid::from_u128(1), &[1; 32]).unwrap()
    }

    fn entry(user: Uuid, erased_at: i64) -> ErasureEntry {
        ErasureEntry {
            receipt: Uuid::now_v7(),
            name: installation().erased_name(&ana()),
            user,
            erased_at,
            installation: Uuid::from_u128(1),
        }
    }

    #[test]
    fn an_older_id_of_an_erased_person_is_erased_and_a_newer_one_stays() {
        let (old, new) = (Uuid::now_v7(), Uuid::now_v7());
        let made_at = |id: Uuid| {
            let (seconds, nanoseconds) = id.get_timestamp().unwrap().to_unix();
            i64::try_from(seconds * 1000 + u64::from(nanoseconds / 1_000_000)).unwrap()
        };
        let replay = ErasureReplay::new(installation(), vec![entry(old, made_at(old))]).unwrap();
        assert!(replay.entry_of(old, &ana()).is_some(), "whatever the clocks of hosts say");
        assert!(replay.entry_of(new, &ana()).is_none());
        let ben = Owner { subject: "ben".into(), ..ana() };
        assert!(replay.entry_of(old, &ben).is_none());
        let replay = ErasureReplay::new(installation(), vec![entry(new, made_at(old) + 60_000)]).unwrap();
        assert!(replay.entry_of(old, &ana()).is_some());
    }

    #[test]
    fn a_list_of_another_installation_is_refused() {
        let entry = ErasureEntry { installation: Uuid::from_u128(2), ..entry(Uuid::now_v7(), 1) };
        let error = ErasureReplay::new(installation(), vec![entry]).unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
    }
}
