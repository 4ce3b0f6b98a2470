//! A memory that uses everything that a memory can use: it reads the history, and stores notes and recalls them.

use masque_sdk::state::{self, Write};
use masque_sdk::{
    Exchange, Memory, Observer, Property, Recollection, Remembered, Result, Turn, history, tracing,
};
use std::time::Duration;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Golden {
    /// How many notes are recalled.
    #[serde(default = "three")]
    notes: u32,
}

fn three() -> u32 {
    3
}

impl Memory for Golden {
    async fn recall(&self, turn: Turn, budget: u32) -> Result<Recollection> {
        let oldest = turn.tail.first().and_then(|message| message.id.as_deref());
        let mut messages = if turn.has_earlier { history::page(oldest, 2)? } else { Vec::new() };
        messages.extend(turn.tail);
        let mut recollection = Recollection::of(messages);
        for key in state::user().list("note-", None, self.notes)? {
            let Some(note) = state::user().get::<String>(&key)? else { continue };
            recollection.memories.push(Remembered {
                id: key,
                text: note.value,
                score: Some(0.25),
                source: Some(format!("version {}", note.version)),
                metadata: Vec::new(),
            });
        }
        recollection.metadata.extend(Property::new("budget", budget));
        tracing::info!(notes = recollection.memories.len(), "recalled");
        Ok(recollection)
    }
}

impl Observer for Golden {
    async fn observe(&self, exchange: Exchange) -> Result<()> {
        let notes = state::user();
        let number = notes.add("notes", 1)?;
        let write = Write::new().if_version(0).for_time(Duration::from_secs(3600));
        notes.set_with(&format!("note-{number}"), &exchange.turn.message.text(), write)?;
        notes.delete("draft")
    }
}

masque_sdk::export!(Golden: memory, observer);
