//! What is accepted, but does not do what it seems to.

use super::super::super::error::SpecCode;
use super::super::super::report::{Finding, shown, to_u32};
use super::super::super::value;
use super::super::super::yaml::Node;
use super::super::read::{is_literal, items};
use super::Rules;

/// Environment variables that lain sets itself.
const OWN_VARIABLES: [&str; 9] = [
    "LAIN_APPNAME",
    "LAIN_PROCNAME",
    "LAIN_APP_RELEASE_VERSION",
    "LAIN_DOMAIN",
    "LAIN_SERVICE_NAME",
    "LAIN_INSTANCE_NO",
    "DEPLOYD_POD_INSTANCE_NO",
    "DEPLOYD_POD_NAME",
    "DEPLOYD_POD_NAMESPACE",
];

/// Words that mean something to a shell only.
const SHELL_WORDS: [&str; 8] = ["&&", "||", "|", ";", ">", ">>", "<", "&"];

impl Rules<'_, '_, '_, '_> {
    pub(super) fn surprises(&mut self) {
        self.shell_words("cmd");
        self.shell_words("entrypoint");
        for (_, node, variable) in items(self.declared.body, "env", value::env_variable) {
            if OWN_VARIABLES.contains(&variable.name.as_str()) {
                let message = format!(
                    "lain sets {} itself; this value will not be seen",
                    variable.name
                );
                self.warn(
                    SpecCode::Unused,
                    "env",
                    node,
                    message,
                    "choose another name",
                );
            }
        }
        let ports = self
            .declared
            .body
            .get("ports")
            .and_then(Node::entries)
            .unwrap_or_default();
        for entry in ports.iter().filter(|entry| !is_empty(&entry.node)) {
            let message = "a value here has no effect";
            self.warn(
                SpecCode::Unused,
                "ports",
                &entry.node,
                message,
                "write a list of ports",
            );
        }
    }

    /// A command line that wants a shell has none.
    fn shell_words(&mut self, key: &str) {
        let Some(node) = self.declared.body.get(key) else {
            return;
        };
        let Some(line) = node.text() else { return };
        let words = value::command(line).unwrap_or_default();
        let Some(word) = words
            .iter()
            .find(|word| SHELL_WORDS.contains(&word.as_str()))
        else {
            return;
        };
        let mut place = node.place;
        if let (true, Some(at)) = (is_literal(node), line.find(word.as_str())) {
            place.column = place
                .column
                .saturating_add(to_u32(line[..at].chars().count()));
        }
        let message = format!(
            "no shell runs this, so `{}` is passed to the program as it is",
            shown(word)
        );
        let finding = Finding::new(SpecCode::Suspicious, place, self.path.key(key), message);
        self.report.warn(
            finding
                .width(to_u32(word.len()))
                .suggest("`sh -c '…'` runs a shell"),
        );
    }
}

fn is_empty(node: &Node) -> bool {
    node.is_null()
        || node.text() == Some("")
        || node.items().is_some_and(<[_]>::is_empty)
        || node.entries().is_some_and(<[_]>::is_empty)
}
