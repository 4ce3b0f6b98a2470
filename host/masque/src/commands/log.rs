//! The command `masque log`: shows the level of a running host's log, or changes it for a while.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::socket_client::ask;
use crate::store::ensure_data_folder;

const PATH: &str = "/admin/log";

/// Changes the level of the log of the host on the data folder, or shows it if there is no `level`.
///
/// # Errors
/// There is no such folder, no host runs on it, or it refuses the level.
pub(crate) async fn show_or_change(
    folder: &Path,
    level: Option<String>,
    duration: Duration,
) -> anyhow::Result<String> {
    ensure_data_folder(folder)?;
    let answer = match level {
        None => ask(folder, Method::GET, PATH, None).await?,
        Some(level) => {
            if duration.subsec_nanos() > 0 {
                bail!("--for is a number of whole seconds, such as `10m`");
            }
            let body = json!({ "level": level, "for_seconds": duration.as_secs() });
            ask(folder, Method::POST, PATH, Some(&body)).await?
        }
    };
    if answer.status != StatusCode::OK {
        let detail = answer.body.get("detail").or_else(|| answer.body.get("title")).and_then(Value::as_str);
        return Err(anyhow!("the host refuses: {}", detail.unwrap_or(answer.status.as_str())));
    }
    text(&answer.body)
}

/// Reads how long a level is to be in effect.
///
/// # Errors
/// It is no number with a unit. The words are this command's own: those of the library name other units than the documents.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "write a number with its unit, such as `10m`".to_owned())
}

fn text(state: &Value) -> anyhow::Result<String> {
    let field = |name: &str| state.get(name).and_then(Value::as_str);
    let level = field("level").context("the host's answer has no level")?;
    Ok(match (field("until"), field("configured")) {
        (Some(until), Some(configured)) => format!("The level is {level} until {until}, then {configured}."),
        _ => format!("The level is {level}, as configured."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_says_what_is_in_effect_and_until_when() {
        let configured = json!({ "level": "info", "configured": "info", "until": null });
        assert_eq!(text(&configured).unwrap(), "The level is info, as configured.");
        let temporary =
            json!({ "level": "debug", "configured": "info", "until": "2025-11-24T16:00:00.000Z" });
        let expected = "The level is debug until 2025-11-24T16:00:00.000Z, then info.";
        assert_eq!(text(&temporary).unwrap(), expected);
        assert!(text(&json!({})).is_err());
    }
}
