//! The command `masque explain`: shows what made a turn, with everything that was recorded of it.
//!
//! Whoever can run it can read the store, so it asks for no scope. It leaves the same trace as the API: the audit entry is
//! written first, and where it can't be, nothing is shown.

use std::io::{IsTerminal as _, stdout};

use anyhow::{Context, anyhow, bail};
use masque_api::{ContentAccess, Explanation, explanation};
use masque_config::StateConfig;
use masque_store::{AuditEntry, ExplainedTurns, TurnId};
use serde_json::json;

use super::explanation_text::text;
use super::terminal::Style;
use crate::erasure::entry_of;
use crate::store::open_explained_turns;

/// Who asks, for the audit log.
const ACTOR: &str = "cli";
/// What is done, for the audit log.
const ACTION: &str = "turn.explained";

/// How the explanation is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// For people.
    Text(Style),
    /// As the API answers.
    Json,
}

impl Layout {
    /// For people, with colours if standard output is a terminal and `NO_COLOR` is not set (<https://no-color.org>).
    pub(crate) fn for_terminal() -> Self {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::Text(if stdout().is_terminal() && !is_plain { Style::Coloured } else { Style::Plain })
    }
}

/// Explains the turn with this id.
///
/// # Errors
/// The id is none, there is no record of the turn, or the store can't be read or its audit log written.
pub(crate) async fn explain(state: &StateConfig, turn: &str, layout: Layout) -> anyhow::Result<String> {
    let turn: TurnId = turn
        .parse()
        .map_err(|_| anyhow!("`{}` is no id of a turn; a reply has it as `turn_id`", turn.escape_debug()))?;
    let store = open_explained_turns(state).await?;
    let explained = explain_from(&*store, turn).await;
    store.close().await;
    let explained = explained?;
    match layout {
        Layout::Text(style) => Ok(text(&explained, style)),
        Layout::Json => serde_json::to_string_pretty(&explained).context("the explanation can't be written"),
    }
}

async fn explain_from(store: &dyn ExplainedTurns, turn: TurnId) -> anyhow::Result<Explanation> {
    let Some(record) = store.turn_record(turn).await? else {
        bail!(
            "there is no record of a turn {turn}: it is unknown or deleted, still runs, or ended a moment ago, as its record is \
             written a little later (then ask again); or its record is off, expired or dropped"
        );
    };
    let name = store.installation().await?.erased_name(&record.owner);
    let entry = AuditEntry { detail: json!({ "turn": turn }), ..entry_of(ACTION, name.pseudonym(), ACTOR) };
    store.record(entry).await.context("nothing is shown, since the audit log can't be written")?;
    let explained = explanation(store, &record, ContentAccess::All).await?;
    explained.ok_or_else(|| anyhow!("the turn {turn} was deleted"))
}
