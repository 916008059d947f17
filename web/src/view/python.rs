//! Values as Python prints them: clients of the old system match such text.

use std::fmt::Write;

use serde_json::Value;

/// `str(value)`: a text is itself.
pub(crate) fn python_str(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => repr(other),
    }
}

/// `str(items)` of a list of texts: `['a', 'b']`.
pub(crate) fn python_list(items: &[String]) -> String {
    format!("[{}]", items.iter().map(|t| repr_text(t)).collect::<Vec<_>>().join(", "))
}

fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => repr_text(text),
        Value::Array(items) => format!("[{}]", items.iter().map(repr).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let fields: Vec<String> =
                map.iter().map(|(k, v)| format!("{}: {}", repr_text(k), repr(v))).collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

fn repr_text(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn as_python_prints() {
        assert_eq!(python_str(&json!("a b")), "a b");
        assert_eq!(
            python_str(&json!(["a/1", "it's", "\n", 1, true, null])),
            "['a/1', \"it's\", '\\n', 1, True, None]"
        );
        assert_eq!(python_str(&json!({"a": ["b"]})), "{'a': ['b']}");
        assert_eq!(python_list(&["owner/name".to_owned()]), "['owner/name']");
    }
}
