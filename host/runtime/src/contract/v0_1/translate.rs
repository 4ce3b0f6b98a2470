//! Translates between the types of version 0.1.0 and the host's own.
//!
//! Downwards, a borrowed value shares its text with the translation: only lists are allocated. Owned values are moved in both
//! directions.

use std::sync::Arc;

use super::types;
use crate::contract;

/// Turns a value into the corresponding one of the other side.
pub(super) trait Translate<T> {
    fn translate(self) -> T;
}

/// Values that are the same on both sides.
macro_rules! same {
    ($($type:ty),*) => {$(
        impl Translate<$type> for $type {
            fn translate(self) -> $type {
                self
            }
        }

        impl Translate<$type> for &$type {
            fn translate(self) -> $type {
                self.clone()
            }
        }
    )*};
}

// No text is copied: cloning an `Arc` shares it, and an owned `String` is moved.
same!(Arc<str>, bool, u32, u64, f32);

impl Translate<String> for String {
    fn translate(self) -> String {
        self
    }
}

impl<T, U: Translate<T>> Translate<Option<T>> for Option<U> {
    fn translate(self) -> Option<T> {
        self.map(Translate::translate)
    }
}

impl<'a, T, U> Translate<Option<T>> for &'a Option<U>
where
    &'a U: Translate<T>,
{
    fn translate(self) -> Option<T> {
        self.as_ref().map(Translate::translate)
    }
}

impl<T, U: Translate<T>> Translate<Vec<T>> for Vec<U> {
    fn translate(self) -> Vec<T> {
        self.into_iter().map(Translate::translate).collect()
    }
}

impl<'a, T, U> Translate<Vec<T>> for &'a Vec<U>
where
    &'a U: Translate<T>,
{
    fn translate(self) -> Vec<T> {
        self.iter().map(Translate::translate).collect()
    }
}

/// A record with the same fields on both sides. `shared` records are also translated downwards from a reference.
macro_rules! record {
    (shared $record:ident { $($field:ident),* }) => {
        record!(moved $record { $($field),* });

        impl Translate<types::$record> for &contract::$record {
            fn translate(self) -> types::$record {
                types::$record { $($field: (&self.$field).translate()),* }
            }
        }
    };
    (moved $record:ident { $($field:ident),* }) => {
        impl Translate<contract::$record> for types::$record {
            fn translate(self) -> contract::$record {
                contract::$record { $($field: self.$field.translate()),* }
            }
        }

        impl Translate<types::$record> for contract::$record {
            fn translate(self) -> types::$record {
                types::$record { $($field: self.$field.translate()),* }
            }
        }
    };
}

/// The same for a variant whose cases each have a payload.
macro_rules! variant {
    (shared $variant:ident { $($case:ident),* }) => {
        variant!(moved $variant { $($case),* });

        impl Translate<types::$variant> for &contract::$variant {
            fn translate(self) -> types::$variant {
                match self {
                    $(contract::$variant::$case(value) => types::$variant::$case(value.translate())),*
                }
            }
        }
    };
    (moved $variant:ident { $($case:ident),* }) => {
        variant!(lifted $variant { $($case),* });

        impl Translate<types::$variant> for contract::$variant {
            fn translate(self) -> types::$variant {
                match self {
                    $(contract::$variant::$case(value) => types::$variant::$case(value.translate())),*
                }
            }
        }
    };
    (lifted $variant:ident { $($case:ident),* }) => {
        impl Translate<contract::$variant> for types::$variant {
            fn translate(self) -> contract::$variant {
                match self {
                    $(types::$variant::$case(value) => contract::$variant::$case(value.translate())),*
                }
            }
        }
    };
}

record!(shared Property { name, json });
record!(shared Blob { media_type, uri, metadata });
record!(shared ToolCall { id, name, arguments, metadata });
record!(shared ToolResult { id, content, is_error, metadata });
variant!(shared Part { Text, Blob, ToolCall, ToolResult, Thinking, Other });
record!(shared Message { id, role, parts, at, source, cache, metadata });
record!(shared Tool { name, description, parameters, metadata });
record!(shared Prompt { messages, tools, options, metadata });
record!(shared User { id, name, locale, timezone, metadata });
record!(shared Turn { id, attempt, conversation, companion, tenant, user, message, tail, has_earlier, now, deadline_ms, metadata });
record!(shared Opening { conversation, companion, tenant, user, now, metadata });
record!(shared Usage { input_tokens, output_tokens, cached_tokens, metadata });
record!(shared Exchange { turn, reply, usage, interrupted, attempt, metadata });
record!(shared Remembered { id, text, score, source, metadata });
record!(shared Recollection { messages, memories, metadata });
record!(moved Failure { code, message, retry_after_ms, metadata });
record!(moved Finish { reason, metadata });
variant!(lifted Delta { Text, Thinking, ToolCall, Usage, Finish, Failed, Other });
record!(moved Reply { message, usage, finish, metadata });
record!(moved Description { kind, name, version, settings_schema, state_version, metadata });

impl<T, U: Translate<T>> Translate<Result<T, contract::Failure>> for Result<U, types::Failure> {
    fn translate(self) -> Result<T, contract::Failure> {
        self.map(Translate::translate).map_err(Translate::translate)
    }
}

impl<T, U: Translate<T>> Translate<Result<T, types::Failure>> for Result<U, contract::Failure> {
    fn translate(self) -> Result<T, types::Failure> {
        self.map(Translate::translate).map_err(Translate::translate)
    }
}

impl Translate<()> for () {
    fn translate(self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Message, Part, Property};

    fn message() -> Message {
        Message {
            id: Some("message".into()),
            role: "user".into(),
            parts: vec![Part::Text("Hello".into())],
            at: Some(1),
            source: Some("card.scenario".into()),
            cache: true,
            metadata: vec![Property { name: "mood".into(), json: "1".into() }],
        }
    }

    #[test]
    fn a_borrowed_message_shares_its_text_with_its_translation() {
        let message = message();
        let translated: types::Message = (&message).translate();
        assert!(Arc::ptr_eq(&message.role, &translated.role));
        let (Part::Text(text), types::Part::Text(same)) = (&message.parts[0], &translated.parts[0]) else {
            panic!("another part");
        };
        assert!(Arc::ptr_eq(text, same));
        assert!(Arc::ptr_eq(&message.metadata[0].json, &translated.metadata[0].json));
    }

    #[test]
    fn a_message_is_the_same_after_both_translations() {
        let translated: types::Message = message().translate();
        let back: Message = translated.translate();
        assert_eq!(back, message());
    }
}
