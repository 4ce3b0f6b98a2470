//! Replaces the placeholders of cards: `{{char}}`, `{{user}}`, `{{original}}`, and the older `<BOT>`, `<CHAR>` and `<USER>`.
//!
//! Values are inserted in one pass and not expanded again, so a user named `{{char}}` keeps that name.

/// The values of the placeholders.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    pub(crate) char: &'a str,
    pub(crate) user: &'a str,
}

impl Names<'_> {
    /// Replaces the names. Leaves `{{original}}` unchanged.
    pub(crate) fn replace(self, text: &str) -> String {
        self.expand(text, None)
    }

    /// Replaces the names, and `{{original}}` with `original`, in which the names are replaced as well.
    pub(crate) fn replace_with_original(self, text: &str, original: &str) -> String {
        self.expand(text, Some(&self.replace(original)))
    }

    fn expand(self, text: &str, original: Option<&str>) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(['{', '<']) {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            match self.placeholder(from, original) {
                Some((value, after)) => {
                    out.push_str(value);
                    rest = after;
                }
                None => {
                    let (first, after) = from.split_at(1);
                    out.push_str(first);
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }

    /// Returns the value of the placeholder at the start of `text`, and the text behind it.
    fn placeholder<'t>(self, text: &'t str, original: Option<&'t str>) -> Option<(&'t str, &'t str)>
    where
        Self: 't,
    {
        let (word, after, curly) = match text.strip_prefix("{{") {
            Some(inner) => inner.split_once("}}").map(|(word, after)| (word, after, true))?,
            None => text.strip_prefix('<')?.split_once('>').map(|(word, after)| (word, after, false))?,
        };
        let value = match (word.trim().to_ascii_lowercase().as_str(), curly) {
            ("char", _) | ("bot", false) => self.char,
            ("user", _) => self.user,
            ("original", true) => original?,
            // A comment for editors of the card (version 3).
            (note, true) if note.starts_with("//") => "",
            _ => return None,
        };
        Some((value, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_in_any_case_and_only_once() {
        let table = [
            ("{{char}} greets {{user}}", "Elara greets Ada"),
            ("{{Char}}{{USER}}{{ user }}", "ElaraAdaAda"),
            ("<BOT>, <bot>, <CHAR> and <User>", "Elara, Elara, Elara and Ada"),
            ("{{{user}}}", "{Ada}"),
            ("{{// not for you }}shown", "shown"),
            ("{{random:a,b}} {{bot}} <b>bold</b> a < b {", "{{random:a,b}} {{bot}} <b>bold</b> a < b {"),
            ("{{user", "{{user"),
            ("größer als {{user}} 🌒", "größer als Ada 🌒"),
            ("{{original}}", "{{original}}"),
        ];
        for (text, wanted) in table {
            assert_eq!(Names { char: "Elara", user: "Ada" }.replace(text), wanted, "{text}");
        }
        assert_eq!(Names { char: "Elara", user: "{{char}}" }.replace("{{user}}"), "{{char}}");
    }

    #[test]
    fn the_original_is_inserted_with_its_names_replaced() {
        let names = Names { char: "Elara", user: "Ada" };
        assert_eq!(
            names.replace_with_original("{{Original}} Be {{char}}.", "Help {{user}}."),
            "Help Ada. Be Elara."
        );
        assert_eq!(names.replace_with_original("Be {{char}}.", "Help {{user}}."), "Be Elara.");
    }
}
