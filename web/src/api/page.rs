//! `/api`: the description for people, with a form for each operation that only reads.

use std::fmt::Write;

use askama::Template;
use axum::{
    extract::RawQuery,
    response::{IntoResponse, Redirect, Response},
};
use serde_json::Value;
use url::form_urlencoded;

use super::{DOCUMENT, all};
use crate::{
    failure::{Failure, PROBLEMS, problem_name},
    pages::{page, parameter},
    view::{Crumb, path},
};

/// Deeper values are not laid out.
const DEEPEST: usize = 6;

#[derive(Template)]
#[template(path = "api.html")]
struct Page {
    crumbs: Vec<Crumb>,
    introduction: Vec<String>,
    groups: Vec<Group>,
    /// Name, title, status and meaning.
    problems: Vec<(String, &'static str, u16, &'static str)>,
}

/// Operations that belong together.
struct Group {
    description: String,
    operations: Vec<Operation>,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    description: String,
    parameters: Vec<Parameter>,
    /// What is sent.
    body: Option<String>,
    /// What comes back.
    answer: String,
}

struct Parameter {
    name: String,
    kind: String,
    required: bool,
    description: String,
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

impl Operation {
    fn new(path: &str, method: &str, operation: &Value) -> Self {
        let shape_of = |content: &Value| {
            let schema = content["content"]["application/json"].get("schema")?;
            let mut out = String::new();
            shape(schema, 0, &mut out);
            Some(out)
        };
        let parameters = operation["parameters"].as_array().into_iter().flatten().map(|one| Parameter {
            name: text(one, "name"),
            kind: kind(&one["schema"]),
            required: one["required"] == true,
            description: text(one, "description"),
        });
        Self {
            id: text(operation, "operationId"),
            method: method.to_uppercase(),
            path: path.to_owned(),
            summary: text(operation, "summary"),
            description: text(operation, "description"),
            parameters: parameters.collect(),
            body: shape_of(&operation["requestBody"]),
            answer: shape_of(&operation["responses"]["200"]).unwrap_or_default(),
        }
    }

    fn may_be_tried(&self) -> bool {
        self.method == "GET"
    }
}

/// A schema, or the one that it refers to.
fn resolved(schema: &Value) -> &Value {
    let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    name.map_or(schema, |name| &DOCUMENT["components"]["schemas"][name])
}

/// The name of a schema's type.
fn kind(schema: &Value) -> String {
    let words = |schema: &Value| match &schema["type"] {
        Value::String(word) => word.clone(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "value".to_owned(),
    };
    match schema["format"].as_str() {
        Some(format) if !format.starts_with("int") && format != "double" => {
            format!("{} ({format})", words(schema))
        }
        _ => words(schema),
    }
}

/// Lays a value of this schema out, as JSON with words in the places of values.
fn shape(schema: &Value, depth: usize, out: &mut String) {
    let schema = resolved(schema);
    // Either nothing or something.
    let some = |key: &str| schema[key].as_array()?.iter().find(|one| one["type"] != "null");
    if let Some(some) = some("oneOf").or_else(|| some("anyOf")) {
        shape(some, depth, out);
        out.push_str(" or null");
        return;
    }
    let indent = "  ".repeat(depth + 1);
    // Writing to a String cannot fail.
    let _ = match (schema["properties"].as_object(), schema.get("items"), schema.get("additionalProperties"))
    {
        _ if depth >= DEEPEST => write!(out, "…"),
        (Some(properties), ..) => {
            out.push('{');
            for (name, property) in properties {
                let described =
                    property["description"].as_str().or(resolved(property)["description"].as_str());
                for line in described.unwrap_or_default().lines() {
                    let _ = write!(out, "\n{indent}# {line}");
                }
                let _ = write!(out, "\n{indent}\"{name}\": ");
                shape(property, depth + 1, out);
            }
            write!(out, "\n{}}}", "  ".repeat(depth))
        }
        (_, Some(items), _) => {
            out.push('[');
            shape(items, depth, out);
            write!(out, ", …]")
        }
        (.., Some(values)) if values.is_object() => {
            let _ = write!(out, "{{\n{indent}NAME: ");
            shape(values, depth + 1, out);
            write!(out, ", …\n{}}}", "  ".repeat(depth))
        }
        _ => write!(out, "{}", kind(schema)),
    };
}

/// `/api`.
pub(super) async fn get() -> Result<Response, Failure> {
    let tags = DOCUMENT["tags"].as_array().into_iter().flatten();
    let group = |tag: &Value| Group {
        description: text(tag, "description"),
        operations: all()
            .filter(|(.., operation)| operation["tags"][0] == tag["name"])
            .map(|(path, method, operation)| Operation::new(path, method, operation))
            .collect(),
    };
    let introduction = text(&DOCUMENT["info"], "description");
    page(&Page {
        crumbs: vec![],
        introduction: introduction.split("\n\n").map(str::to_owned).collect(),
        groups: tags.map(group).collect(),
        problems: PROBLEMS
            .map(|(title, status, meaning)| (problem_name(title), title, status.as_u16(), meaning))
            .into(),
    })
}

/// `/api/try?operation=…&…`: from a form, which cannot write a path, to the operation's address.
pub(super) async fn attempt(RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let given = query.as_deref();
    let wanted = parameter(given, "operation").unwrap_or_default();
    let found = all().find(|(_, method, operation)| *method == "get" && operation["operationId"] == *wanted);
    let (template, _, operation) = found.ok_or_else(|| Failure::not_found("There is no such operation."))?;
    let mut parts = Vec::new();
    for part in template.trim_start_matches('/').split('/') {
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            None => parts.push(part.to_owned()),
            Some(name) => {
                let value = parameter(given, name).filter(|value| !value.is_empty());
                parts.push(value.ok_or_else(|| Failure::bad(format!("{name} is missing."), "Fill it in."))?);
            }
        }
    }
    let mut address = path(&parts.iter().map(String::as_str).collect::<Vec<_>>());
    let mut rest = form_urlencoded::Serializer::new(String::new());
    for one in operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "query") {
        let name = text(one, "name");
        if let Some(value) = parameter(given, &name).filter(|value| !value.is_empty()) {
            rest.append_pair(&name, &value);
        }
    }
    let rest = rest.finish();
    if !rest.is_empty() {
        let _ = write!(address, "?{rest}");
    }
    Ok(Redirect::to(&address).into_response())
}
