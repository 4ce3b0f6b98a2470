//! Explains what is wrong with the chunks of a PNG (PNG specification, section 5.3). A damaged file is read as far as it goes;
//! this is asked only where no card came of it.

use crate::data_url::Base64Bytes;
use flate2::Crc;

/// The length and the type of the chunk at `at`.
pub(super) fn header(file: Base64Bytes<'_>, at: usize) -> Option<(usize, [u8; 4])> {
    let bytes = file.read(at, 8)?;
    let (len, kind) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_be_bytes(*len)).ok()?, kind.try_into().ok()?))
}

/// What is wrong with a file whose chunks begin at `at`, in words: where its chunks end too early, or the first checksum that is
/// wrong. What follows `IEND` is not part of the image.
pub(super) fn file_damage(file: Base64Bytes<'_>, mut at: usize) -> Option<String> {
    let mut last = "the signature".to_string();
    let mut checksum = None;
    while let Some((len, kind)) = header(file, at) {
        if !kind.iter().all(u8::is_ascii_alphabetic) {
            return Some(format!("there is no chunk after {last}, at byte {at}"));
        }
        if let Some(damage) = cut_off(file, at) {
            return Some(damage);
        }
        checksum = checksum.or_else(|| wrong_checksum(file, at));
        if &kind == b"IEND" {
            return checksum;
        }
        last = format!("its chunk `{}`", kind.escape_ascii());
        at = at.saturating_add(len).saturating_add(12);
    }
    Some(format!("the file ends after {last}, without `IEND`"))
}

/// What is wrong with the chunk that begins at `at`, in words.
pub(super) fn chunk_damage(file: Base64Bytes<'_>, at: usize) -> Option<String> {
    cut_off(file, at).or_else(|| wrong_checksum(file, at))
}

fn cut_off(file: Base64Bytes<'_>, at: usize) -> Option<String> {
    let (len, kind) = header(file, at)?;
    let rest = file.len().saturating_sub(at.saturating_add(8));
    let there = rest.min(len);
    (rest < len.saturating_add(4)).then(|| {
        let name = kind.escape_ascii();
        format!("the file is cut off within its chunk `{name}`: {there} of {len} bytes are there")
    })
}

fn wrong_checksum(file: Base64Bytes<'_>, at: usize) -> Option<String> {
    let (len, kind) = header(file, at)?;
    let mut crc = Crc::new();
    crc.update(&file.read(at.checked_add(4)?, len.checked_add(4)?)?);
    let written = file.read(at.checked_add(8)?.checked_add(len)?, 4)?;
    let name = kind.escape_ascii();
    (written != crc.sum().to_be_bytes())
        .then(|| format!("the checksum (CRC) of its chunk `{name}` is wrong, at byte {at}"))
}
