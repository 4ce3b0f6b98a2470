//! The tables of `docs/api.md`, written from the OpenAPI description.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

/// What every route with a scope can answer. The page says it once.
const SHARED: [&str; 4] = [
    "There is no token or API key, or it is not valid.",
    "The token or API key does not have the scope that the route needs.",
    "The user, the API key or the address has asked too often.",
    "Any other problem.",
];

const METHODS: [&str; 5] = ["get", "post", "patch", "put", "delete"];

/// Returns the routes by tag, then the objects that they name.
pub(super) fn page(document: &Value) -> String {
    let mut page = String::new();
    for tag in document["tags"].as_array().unwrap() {
        writeln!(page, "\n## {}\n\n{}.", text(&tag["name"]), text(&tag["description"])).unwrap();
        for (path, item) in members(&document["paths"]) {
            for method in METHODS {
                let operation = &item[method];
                if operation["tags"][0] == tag["name"] {
                    route(&mut page, &format!("{} {path}", method.to_uppercase()), operation);
                }
            }
        }
    }
    page.push_str("\n## Objects\n\nA field marked * is always there, or has to be sent.\n");
    for (name, schema) in members(&document["components"]["schemas"]) {
        writeln!(page, "\n### {name}\n").unwrap();
        object(&mut page, schema);
    }
    page.push('\n');
    page
}

fn route(page: &mut String, name: &str, operation: &Value) {
    writeln!(page, "\n### `{name}`\n\n{}", text(&operation["summary"])).unwrap();
    if let Some(description) = operation["description"].as_str() {
        writeln!(page, "\n{description}").unwrap();
    }
    let scopes: BTreeSet<_> = members_of_list(&operation["security"])
        .flat_map(|requirement| members(requirement).flat_map(|(_, scopes)| members_of_list(scopes)))
        .map(|scope| format!("`{}`", text(scope)))
        .collect();
    let scopes = scopes.into_iter().collect::<Vec<_>>().join(" or ");
    match scopes.is_empty() {
        true => page.push_str("\nNeeds no token.\n"),
        false => writeln!(page, "\nScope: {scopes}.").unwrap(),
    }
    let mut inputs: Vec<_> = members_of_list(&operation["parameters"]).map(parameter).collect();
    if let Some((media_type, body)) = members(&operation["requestBody"]["content"]).next() {
        inputs.push(format!("| body | `{media_type}` | {} |\n", kind(&body["schema"])));
    }
    if !inputs.is_empty() {
        write!(page, "\n| request | in | |\n| --- | --- | --- |\n{}", inputs.concat()).unwrap();
    }
    page.push_str("\n| response | | |\n| --- | --- | --- |\n");
    for (status, response) in members(&operation["responses"]) {
        let description = line(&response["description"]);
        if SHARED.contains(&description.as_str()) {
            continue;
        }
        let contents: Vec<_> = members(&response["content"]).map(content).collect();
        writeln!(page, "| {status} | {description} | {} |", contents.join(", ")).unwrap();
    }
}

/// What a response holds, of one media type.
fn content((media_type, content): (&String, &Value)) -> String {
    match (media_type.as_str(), kind(&content["schema"]).as_str()) {
        ("application/problem+json", _) => "a [problem](errors.md)".to_owned(),
        ("application/json", kind) => kind.to_owned(),
        (media_type, "string") => format!("`{media_type}`"),
        (media_type, kind) => format!("{kind} as `{media_type}`"),
    }
}

fn parameter(parameter: &Value) -> String {
    let star = if parameter["required"] == true { "*" } else { "" };
    let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
    format!("| `{name}`{star} | {place} | {} |\n", line(&parameter["description"]))
}

/// Writes the description and the fields of a schema, of each of its forms if it has several.
fn object(page: &mut String, schema: &Value) {
    let description = schema["description"].as_str();
    if let Some(description) = description {
        writeln!(page, "{description}").unwrap();
    }
    let forms: Vec<_> = ["oneOf", "anyOf"].iter().flat_map(|key| members_of_list(&schema[key])).collect();
    for form in &forms {
        let name = members_of_list(&form["allOf"])
            .chain([*form])
            .find_map(|part| Some(format!("`{}`", part["properties"]["type"]["enum"][0].as_str()?)));
        let about = form["description"].as_str().unwrap_or_default();
        writeln!(page, "\n{}: {about}", name.unwrap_or_else(|| kind(form))).unwrap();
        fields(page, form);
    }
    if forms.is_empty() && !fields(page, schema) {
        writeln!(page, "\nIt is {}.", kind(&without_description(schema))).unwrap();
    }
}

/// Writes the table of fields; returns whether there are any.
fn fields(page: &mut String, schema: &Value) -> bool {
    let mut rows = String::new();
    let parts: Vec<_> = members_of_list(&schema["allOf"]).chain([schema]).collect();
    for part in parts {
        if part["$ref"].is_string() {
            writeln!(rows, "| | the fields of {} | |", kind(part)).unwrap();
        }
        let required: BTreeSet<_> = members_of_list(&part["required"]).filter_map(Value::as_str).collect();
        for (name, field) in members(&part["properties"]) {
            let star = if required.contains(name.as_str()) { "*" } else { "" };
            writeln!(rows, "| `{name}`{star} | {} | {} |", kind(field), line(&field["description"])).unwrap();
        }
    }
    if !rows.is_empty() {
        write!(page, "\n| field | type | |\n| --- | --- | --- |\n{rows}").unwrap();
    }
    !rows.is_empty()
}

/// The type of a schema in words, with a link to a named object.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    let forms = ["oneOf", "anyOf", "allOf"].into_iter().flat_map(|key| members_of_list(&schema[key]));
    let forms: Vec<_> = forms.map(kind).collect();
    if !forms.is_empty() {
        return forms.join(" or ");
    }
    let values: Vec<_> = members_of_list(&schema["enum"]).map(|value| format!("`{value}`")).collect();
    if !values.is_empty() {
        return values.join(" or ").replace('"', "");
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().map(text).collect(),
        Value::String(name) => vec![name.clone()],
        _ => vec!["any value".to_owned()],
    };
    let of_type = |name: String| match (name.as_str(), schema["format"].as_str()) {
        ("array", _) => format!("list of {}", kind(&schema["items"])),
        ("string", Some(format)) => format!("string ({format})"),
        _ => name,
    };
    types.into_iter().map(of_type).collect::<Vec<_>>().join(" or ")
}

fn without_description(schema: &Value) -> Value {
    let mut schema = schema.clone();
    schema.as_object_mut().unwrap().remove("description");
    schema
}

/// The members of an object, sorted; none if it is not there.
fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten().collect::<BTreeMap<_, _>>().into_iter()
}

fn members_of_list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A text for a cell of a table.
fn line(value: &Value) -> String {
    text(value).replace('\n', " ").replace('|', "\\|")
}
