//! `GET /companions`: the companions that the caller may talk to.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::state::{App, Caller};
use super::view::Items;
use masque_companions as active;
use masque_problem::Problem;

/// A companion.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Companion)]
pub(crate) struct CompanionView {
    #[schema(example = "elara")]
    name: String,
    /// The names that `model` accepts. The first is the default.
    models: Vec<String>,
    /// Whether a new conversation begins with a message of the companion.
    greets: bool,
}

impl From<&active::Companion> for CompanionView {
    fn from(companion: &active::Companion) -> Self {
        Self {
            name: companion.name.clone(),
            models: companion.models.iter().map(|model| model.name().to_owned()).collect(),
            greets: companion.persona.package().greets(),
        }
    }
}

/// Lists the companions that the caller may talk to, by name.
#[utoipa::path(get, path = "/companions", tag = "companions", responses((status = 200, description = "The companions.", body = Items<CompanionView>)))]
pub(crate) async fn list(
    State(app): State<App>,
    Caller(principal): Caller,
) -> Result<Json<Items<CompanionView>>, Problem> {
    let set = app.active.current();
    let companions = set.companions.values().filter(|companion| principal.may_talk_to(&companion.name));
    let items = companions.map(|companion| CompanionView::from(&**companion)).collect();
    Ok(Json(Items { items, next: None }))
}
