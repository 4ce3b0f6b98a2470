//! Finds the card in a PNG: the text of a chunk with the keyword `ccv3` or, for older cards, `chara`.
//!
//! The text may be in `tEXt`, `zTXt` or `iTXt` (PNG specification, section 11.3.3), before or after the image data, and some
//! tools append it after the last chunk. The image is never decoded. Checksums are compared only to explain why a card can't
//! be read: a file that was edited by a careless tool still holds its card.

mod damage;

use crate::data_url::{Base64Bytes, decode_lenient};
use damage::{chunk_damage, file_damage, header};
use flate2::read::ZlibDecoder;
use std::io::Read;

const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";
/// The keywords of a card, the preferred one first.
const KEYWORDS: [&str; 2] = ["ccv3", "chara"];
/// The longest keyword (PNG specification, section 11.3.3.2).
const MAX_KEYWORD: usize = 79;
/// The most bytes that a compressed text may have: more than any card, and little enough to decode within the default limit on
/// memory.
const MAX_INFLATED: u64 = 8 << 20;
/// The most texts that are read. Each may be large, and a card has one or two.
const MAX_TEXTS: usize = 8;
/// What to do about a file that can't be used.
const REMEDY: &str = "download the original file again, or export the card as JSON";

/// A text chunk whose keyword says that it holds a card.
#[derive(Clone, Copy)]
struct Chunk {
    keyword: &'static str,
    kind: [u8; 4],
    /// Where the chunk begins, with its length.
    begins: usize,
    /// Where the data after the keyword begins, and its length as far as the file has it.
    at: usize,
    len: usize,
}

/// A PNG with at least one text that may hold a card.
pub(crate) struct Png<'a> {
    file: Base64Bytes<'a>,
    /// In the order in which they are to be tried.
    texts: Vec<Chunk>,
}

impl<'a> Png<'a> {
    /// # Errors
    /// Says why there is no card, and what to do.
    pub(crate) fn open(file: Base64Bytes<'a>) -> Result<Self, String> {
        if file.read(0, SIGNATURE.len()).as_deref() != Some(SIGNATURE) {
            return Err(match file.read(0, 4).as_deref() {
                Some(b"\x89PNG") => format!(
                    "the PNG is damaged: its signature (the first 8 bytes) was changed, as by a transfer as text; {REMEDY}"
                ),
                _ => format!("the card's file is no PNG; {REMEDY}"),
            });
        }
        let mut texts = chunks(file);
        if texts.is_empty() {
            return Err(match file_damage(file, SIGNATURE.len()) {
                Some(damage) => {
                    format!("the PNG is damaged: {damage}; what can be read of it holds no card, so {REMEDY}")
                }
                None => format!(
                    "the PNG holds no card (no text chunk `ccv3` or `chara`); many sites and apps remove it from an image, so \
                     {REMEDY}"
                ),
            });
        }
        // A stable sort: of several chunks with one keyword, the first is tried first.
        texts.sort_by_key(|chunk| KEYWORDS.iter().position(|keyword| *keyword == chunk.keyword));
        texts.truncate(MAX_TEXTS);
        Ok(Self { file, texts })
    }

    /// The first text that `parse` accepts, with the errors of those before it. The texts are the JSON of cards.
    ///
    /// # Errors
    /// What is wrong with each text.
    pub(crate) fn first<T>(
        &self,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<(T, Vec<String>), String> {
        let mut errors = Vec::new();
        for chunk in &self.texts {
            match read(self.file, *chunk).and_then(|json| parse(&json)) {
                Ok(parsed) => return Ok((parsed, errors)),
                Err(error) => errors.push(self.explain(*chunk, &error)),
            }
        }
        Err(errors.join("; "))
    }

    /// The error of a text, with the damage to its chunk that may be the reason.
    fn explain(&self, chunk: Chunk, error: &str) -> String {
        let keyword = chunk.keyword;
        match chunk_damage(self.file, chunk.begins) {
            Some(damage) => {
                format!(
                    "the PNG is damaged: its text `{keyword}` can't be read, since {damage}; {REMEDY} ({error})"
                )
            }
            None => format!("the PNG's text `{keyword}`: {error}"),
        }
    }
}

fn chunks(file: Base64Bytes<'_>) -> Vec<Chunk> {
    let mut found = Vec::new();
    let mut at = SIGNATURE.len();
    while let Some((len, kind)) = header(file, at) {
        let (begins, data) = (at, at + 8);
        // A file that was cut off ends within a chunk.
        let len = len.min(file.len() - data);
        if matches!(&kind, b"tEXt" | b"zTXt" | b"iTXt")
            && let Some((keyword, skipped)) = keyword(file, data, len)
        {
            found.push(Chunk { keyword, kind, begins, at: data + skipped, len: len - skipped });
        }
        at = data.saturating_add(len).saturating_add(4);
    }
    found
}

/// The keyword of a card at the beginning of a text chunk, and the bytes that it takes with its NUL.
fn keyword(file: Base64Bytes<'_>, at: usize, len: usize) -> Option<(&'static str, usize)> {
    let bytes = file.read(at, len.min(MAX_KEYWORD + 1))?;
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let written = bytes.get(..end)?.trim_ascii();
    let known = KEYWORDS.into_iter().find(|known| written.eq_ignore_ascii_case(known.as_bytes()))?;
    Some((known, end + 1))
}

/// The JSON in a chunk.
fn read(file: Base64Bytes<'_>, chunk: Chunk) -> Result<String, String> {
    let data = file.read(chunk.at, chunk.len).unwrap_or_default();
    let text = match &chunk.kind {
        b"tEXt" => data,
        // One byte names the compression method, of which there is only one.
        b"zTXt" => inflate(data.get(1..).unwrap_or_default())?,
        _ => international(&data)?,
    };
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text).trim_ascii();
    // Some tools write the JSON itself.
    let json = match text.first() {
        None => return Err("it is empty; export the card again".into()),
        Some(b'{') => text.to_vec(),
        _ => decode_lenient(text).ok_or("it is neither base64 nor JSON; export the card again")?,
    };
    Ok(String::from_utf8_lossy(&json).into_owned())
}

/// The text of an `iTXt` chunk after its keyword: compression flag and method, language and translated keyword, each ended by
/// NUL, then the text.
fn international(data: &[u8]) -> Result<Vec<u8>, String> {
    let incomplete = "its chunk `iTXt` is incomplete; export the card again";
    let (head, rest) = data.split_first_chunk::<2>().ok_or(incomplete)?;
    let mut fields = rest.splitn(3, |byte| *byte == 0);
    let text = fields.nth(2).ok_or(incomplete)?;
    if head.first() == Some(&1) { inflate(text) } else { Ok(text.to_vec()) }
}

fn inflate(data: &[u8]) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    // What a cut off stream gave up to its end may still hold the whole text.
    let outcome = ZlibDecoder::new(data).take(MAX_INFLATED + 1).read_to_end(&mut text);
    if text.len() as u64 > MAX_INFLATED {
        return Err(format!(
            "its compressed text has more than {} MiB; make the card smaller",
            MAX_INFLATED >> 20
        ));
    }
    match outcome {
        Err(_) if text.is_empty() => {
            Err("its compressed text can't be unpacked; export the card again".into())
        }
        _ => Ok(text),
    }
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
        let mut crc = flate2::Crc::new();
        crc.update(kind.as_bytes());
        crc.update(data);
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        [&length[..], kind.as_bytes(), data, &crc.sum().to_be_bytes()].concat()
    }

    fn png(chunks: &[Vec<u8>]) -> Vec<u8> {
        let mut file = SIGNATURE.to_vec();
        file.extend(chunk("IHDR", &[0; 13]));
        chunks.iter().for_each(|chunk| file.extend(chunk));
        file.extend(chunk("IEND", b""));
        file
    }

    /// The first text that is JSON.
    fn find(file: &[u8]) -> Result<String, String> {
        let url = format!("data:image/png;base64,{}", STANDARD.encode(file));
        let parse = |text: &str| match crate::json::parse(text) {
            Ok(_) => Ok(text.to_string()),
            Err(error) => Err(format!("no JSON: {error}")),
        };
        Png::open(DataUrl::parse(&url).unwrap().bytes)?.first(parse).map(|(text, _)| text)
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
                assert_eq!(find(&png(&chunks)).unwrap(), IDA);
            }
            let mut appended = png(std::slice::from_ref(&image));
            appended.extend(&text);
            assert_eq!(find(&appended).unwrap(), IDA, "after the last chunk");
        }
    }

    #[test]
    fn base64_is_read_with_line_breaks_and_in_the_url_alphabet() {
        let card = r#"{"name": "???>>>ÿÿÿ"}"#;
        let base64 = STANDARD.encode(card);
        let lines: Vec<_> = base64.as_bytes().chunks(8).collect();
        let table = [lines.join(&b"\r\n"[..]), base64.replace('+', "-").replace('/', "_").into_bytes()];
        for text in table {
            assert_eq!(find(&png(&[chunk("tEXt", &[b"chara\0", &text[..]].concat())])).unwrap(), card);
        }
    }

    #[test]
    fn the_newer_card_comes_first_and_the_older_one_replaces_a_broken_one() {
        let older = chunk("tEXt", b"chara\0{\"name\": \"old\"}");
        for (newer, wanted) in [
            (&b"ccv3\0{\"name\": \"new\"}"[..], r#"{"name": "new"}"#),
            (b"ccv3\0%%%", r#"{"name": "old"}"#),
            (b"ccv3\0{\"name\"", r#"{"name": "old"}"#),
        ] {
            assert_eq!(find(&png(&[older.clone(), chunk("tEXt", newer)])).unwrap(), wanted);
        }
    }

    #[test]
    fn a_checksum_that_is_wrong_refuses_no_card_that_can_be_read() {
        let mut file = png(&[chunk("tEXt", &[b"chara\0", IDA.as_bytes()].concat())]);
        file.iter_mut().rev().take(16).for_each(|byte| *byte = 0);
        assert_eq!(find(&file).unwrap(), IDA);
    }

    #[test]
    fn a_png_without_a_card_is_refused_with_the_cause_and_what_to_do() {
        let card = chunk("tEXt", &[b"chara\0", STANDARD.encode(IDA).as_bytes()].concat());
        let whole = png(std::slice::from_ref(&card));
        let image = png(&[chunk("IDAT", &[7; 1000])]);
        let mut flipped = whole.clone();
        // The first character of the text, after signature, IHDR, length, kind and keyword.
        flipped[8 + 25 + 8 + 6] ^= 0x80;
        let mut other_image = image.clone();
        other_image[8 + 25 + 8 + 5] ^= 1;
        let converted = [&b"\x89PNG\n\x1a\n"[..], &whole[8..]].concat();
        let bomb = [b"chara\0\0", &zlib(&vec![b'A'; 9 << 20])[..]].concat();
        let table: [(Vec<u8>, &[&str]); 12] = [
            (png(&[chunk("tEXt", b"Comment\0hello")]), &["holds no card", "`ccv3` or `chara`"]),
            (
                image[..500].to_vec(),
                &["damaged", "cut off within its chunk `IDAT`", "of 1000 bytes", "holds no card"],
            ),
            (image[..8 + 25].to_vec(), &["damaged", "ends after its chunk `IHDR`"]),
            ([&image[..8 + 25], &[0; 50]].concat(), &["damaged", "no chunk after its chunk `IHDR`"]),
            (other_image, &["damaged", "checksum (CRC) of its chunk `IDAT` is wrong"]),
            (whole[..8 + 25 + 8 + 16].to_vec(), &["damaged", "`chara`", "cut off within its chunk `tEXt`"]),
            (flipped, &["damaged", "`chara`", "checksum (CRC) of its chunk `tEXt` is wrong"]),
            (png(&[chunk("tEXt", b"chara\0%%%")]), &["`chara`", "neither base64 nor JSON"]),
            (png(&[chunk("zTXt", b"chara\0\0not zlib")]), &["`chara`", "can't be unpacked"]),
            (png(&[chunk("zTXt", &bomb)]), &["more than 8 MiB"]),
            (converted, &["damaged", "signature"]),
            (b"GIF89a".to_vec(), &["no PNG"]),
        ];
        for (file, wanted) in table {
            let error = find(&file).unwrap_err();
            assert!(wanted.iter().all(|words| error.contains(words)), "{wanted:?}: {error}");
        }
        assert!(find(b"").unwrap_err().contains("no PNG"));
    }

    #[test]
    fn any_cut_of_a_file_is_an_answer() {
        let file = png(&[chunk("iTXt", b"chara\0\x01\0\0\0abc"), chunk("tEXt", b"ccv3\0e30=")]);
        for end in 0..file.len() {
            let _ = find(&file[..end]);
        }
    }
}
