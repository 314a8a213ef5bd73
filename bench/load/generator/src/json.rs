//! The result's form: objects of numbers, names that need no escaping.

use std::fmt::Display;

/// An object under construction.
#[derive(Debug, Default)]
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn with(mut self, name: &str, value: impl Display) -> Self {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(&format!("\"{name}\":{value}"));
        self
    }

    pub(crate) fn end(self) -> String {
        format!("{{{}}}", self.0)
    }
}

/// A list of finished values.
pub(crate) fn list(values: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", values.into_iter().collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_lists_nest() {
        let inner = Object::default().with("a", 1).with("b", 2.5).end();
        let text = Object::default().with("list", list([inner, "3".to_owned()])).end();
        assert_eq!(text, r#"{"list":[{"a":1,"b":2.5},3]}"#);
    }
}
