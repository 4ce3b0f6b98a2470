//! Finds the card in a PNG: the text of a chunk with the keyword `ccv3` or, for older cards, `chara`.
//!
//! The text may be in `tEXt`, `zTXt` or `iTXt` (PNG specification, section 11.3.3), before or after the image data, and some
//! tools append it after the last chunk. Checksums are not compared: a file that was edited by a careless tool still holds
//! its card. The image is never decoded.

use crate::data_url::{Base64Bytes, decode_lenient};
use flate2::read::ZlibDecoder;
use std::io::Read;

const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";
/// The keywords of a card, the preferred one first.
const KEYWORDS: [&str; 2] = ["ccv3", "chara"];
/// The longest keyword (PNG specification, section 11.3.3.2).
const MAX_KEYWORD: usize = 79;
/// The most bytes that a compressed text may have: more than any card, and little enough to keep.
const MAX_INFLATED: u64 = 16 << 20;
/// The most texts that are read. Each may be large, and a card has one or two.
const MAX_TEXTS: usize = 8;

/// A text chunk whose keyword says that it holds a card.
#[derive(Clone, Copy)]
struct Chunk {
    keyword: &'static str,
    kind: [u8; 4],
    /// Where the data after the keyword begins, and its length.
    at: usize,
    len: usize,
}

/// A card's JSON text, with the keyword that it was found under.
#[derive(Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) keyword: &'static str,
    pub(crate) json: String,
}

/// The texts in a PNG that may hold a card, in the order in which they are to be tried.
///
/// # Errors
/// Says why there is none, and what to do.
pub(crate) fn cards(file: Base64Bytes<'_>) -> Result<Vec<Found>, String> {
    if file.read(0, SIGNATURE.len()).as_deref() != Some(SIGNATURE) {
        return Err(
            "the card's file is no PNG; save the image as it was downloaded, or export the card as JSON"
                .into(),
        );
    }
    let mut chunks = chunks(file);
    if chunks.is_empty() {
        return Err("the PNG holds no card (no text chunk `ccv3` or `chara`); many sites and apps remove it from an image, so \
                    download the original or export the card as JSON"
            .into());
    }
    // A stable sort: of several chunks with one keyword, the first is tried first.
    chunks.sort_by_key(|chunk| KEYWORDS.iter().position(|keyword| *keyword == chunk.keyword));
    let found: Vec<_> = chunks.iter().take(MAX_TEXTS).filter_map(|chunk| read(file, *chunk)).collect();
    if found.is_empty() {
        return Err("the card in the PNG can't be decoded (it is cut off, or neither base64 nor JSON); export it again".into());
    }
    Ok(found)
}

fn chunks(file: Base64Bytes<'_>) -> Vec<Chunk> {
    let mut found = Vec::new();
    let mut at = SIGNATURE.len();
    while let Some((len, kind)) = header(file, at) {
        let data = at + 8;
        // A file that was cut off ends within a chunk.
        let len = len.min(file.len() - data);
        if matches!(&kind, b"tEXt" | b"zTXt" | b"iTXt")
            && let Some((keyword, skipped)) = keyword(file, data, len)
        {
            found.push(Chunk { keyword, kind, at: data + skipped, len: len - skipped });
        }
        at = data.saturating_add(len).saturating_add(4);
    }
    found
}

/// The length and the type of the chunk at `at`.
fn header(file: Base64Bytes<'_>, at: usize) -> Option<(usize, [u8; 4])> {
    let bytes = file.read(at, 8)?;
    let (len, kind) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_be_bytes(*len)).ok()?, kind.try_into().ok()?))
}

/// The keyword of a card at the beginning of a text chunk, and the bytes that it takes with its NUL.
fn keyword(file: Base64Bytes<'_>, at: usize, len: usize) -> Option<(&'static str, usize)> {
    let bytes = file.read(at, len.min(MAX_KEYWORD + 1))?;
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let written = bytes.get(..end)?.trim_ascii();
    let known = KEYWORDS.into_iter().find(|known| written.eq_ignore_ascii_case(known.as_bytes()))?;
    Some((known, end + 1))
}

fn read(file: Base64Bytes<'_>, chunk: Chunk) -> Option<Found> {
    let data = file.read(chunk.at, chunk.len)?;
    let text = match &chunk.kind {
        b"tEXt" => data,
        // One byte names the compression method, of which there is only one.
        b"zTXt" => inflate(data.get(1..)?)?,
        _ => international(&data)?,
    };
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text).trim_ascii();
    // Some tools write the JSON itself.
    let json = match text.first() {
        Some(b'{') => text.to_vec(),
        _ => decode_lenient(text)?,
    };
    Some(Found { keyword: chunk.keyword, json: String::from_utf8_lossy(&json).into_owned() })
}

/// The text of an `iTXt` chunk after its keyword: compression flag and method, language and translated keyword, each ended by
/// NUL, then the text.
fn international(data: &[u8]) -> Option<Vec<u8>> {
    let (head, rest) = data.split_first_chunk::<2>()?;
    let mut fields = rest.splitn(3, |byte| *byte == 0);
    let text = fields.nth(2)?;
    if head.first() == Some(&1) { inflate(text) } else { Some(text.to_vec()) }
}

fn inflate(data: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    // What a cut off stream gave up to its end may still hold the whole text.
    let outcome = ZlibDecoder::new(data).take(MAX_INFLATED).read_to_end(&mut text);
    (outcome.is_ok() || !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_url::DataUrl;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use flate2::{Compression, write::ZlibEncoder};
    use std::io::Write;

    fn chunk(kind: &str, data: &[u8]) -> Vec<u8> {
        let mut chunk = u32::try_from(data.len()).unwrap().to_be_bytes().to_vec();
        chunk.extend(kind.as_bytes());
        chunk.extend(data);
        chunk.extend([0; 4]);
        chunk
    }

    fn png(chunks: &[Vec<u8>]) -> Vec<u8> {
        let mut file = SIGNATURE.to_vec();
        file.extend(chunk("IHDR", &[0; 13]));
        chunks.iter().for_each(|chunk| file.extend(chunk));
        file.extend(chunk("IEND", b""));
        file
    }

    fn find(file: &[u8]) -> Result<Vec<(&'static str, String)>, String> {
        let url = format!("data:image/png;base64,{}", STANDARD.encode(file));
        let found = cards(DataUrl::parse(&url).unwrap().bytes)?;
        Ok(found.into_iter().map(|found| (found.keyword, found.json)).collect())
    }

    fn zlib(data: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    const IDA: &str = r#"{"name": "Ida ♥"}"#;

    #[test]
    fn a_card_is_found_in_every_kind_of_text_chunk_before_and_after_the_image() {
        let base64 = STANDARD.encode(IDA);
        let with = |parts: &[&[u8]]| parts.concat();
        let table = [
            chunk("tEXt", &with(&[b"chara\0", base64.as_bytes()])),
            chunk("tEXt", &with(&[b"Chara\0", base64.as_bytes(), b"\n"])),
            chunk("tEXt", &with(&[b"chara\0", IDA.as_bytes()])),
            chunk("zTXt", &with(&[b"chara\0\0", &zlib(base64.as_bytes())])),
            chunk("iTXt", &with(&[b"chara\0\0\0\0\0", base64.as_bytes()])),
            chunk("iTXt", &with(&[b"chara\0\0\0en\0Figur\0", IDA.as_bytes()])),
            chunk("iTXt", &with(&[b"chara\0\x01\0\0\0", &zlib(base64.as_bytes())])),
        ];
        let image = chunk("IDAT", &[7; 1000]);
        for text in table {
            for chunks in [vec![text.clone(), image.clone()], vec![image.clone(), text.clone()]] {
                assert_eq!(find(&png(&chunks)).unwrap(), [("chara", IDA.to_string())]);
            }
            let mut appended = png(std::slice::from_ref(&image));
            appended.extend(&text);
            assert_eq!(find(&appended).unwrap().len(), 1, "after the last chunk");
        }
    }

    #[test]
    fn the_newer_card_comes_first() {
        let older = chunk("tEXt", b"chara\0{\"name\": \"old\"}");
        let newer = chunk("tEXt", b"ccv3\0{\"name\": \"new\"}");
        let found = find(&png(&[older, newer])).unwrap();
        assert_eq!(found.iter().map(|(keyword, _)| *keyword).collect::<Vec<_>>(), ["ccv3", "chara"]);
    }

    #[test]
    fn a_png_without_a_card_is_refused_with_what_to_do() {
        let table = [
            (png(&[chunk("tEXt", b"Comment\0hello")]), "no card"),
            (png(&[chunk("tEXt", b"chara\0%%%")]), "can't be decoded"),
            (png(&[chunk("zTXt", b"chara\0\0not zlib")]), "can't be decoded"),
            (b"GIF89a".to_vec(), "no PNG"),
            (Vec::new(), "no PNG"),
        ];
        for (file, wanted) in table {
            let error = find(&file).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn any_cut_of_a_file_is_an_answer() {
        let file = png(&[chunk("iTXt", b"chara\0\x01\0\0\0abc"), chunk("tEXt", b"ccv3\0e30=")]);
        for end in 0..file.len() {
            let _ = find(&file[..end]);
        }
    }
}
