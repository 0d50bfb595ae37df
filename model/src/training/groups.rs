//! Which parameters learn otherwise than the rest.

use super::Checks;
use crate::parameter::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parameters that learn otherwise than the rest. The first group that names a parameter counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParameterGroup {
    /// All parameters of these roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub roles: Vec<Role>,
    /// All parameters with these PyTorch names; `*` stands for any characters: `"embed.*"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub names: Vec<String>,
    /// Their weight decay, from 0; the optimizer's if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// By what their learning rate is multiplied, from 0.
    #[serde(default = "one")]
    pub lr_factor: f64,
}

const fn one() -> f64 {
    1.0
}

/// How one parameter learns: what of its group a layer pod has to know.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParameterSetting {
    /// Its weight decay.
    pub weight_decay: f64,
    /// By what its learning rate is multiplied.
    pub lr_factor: f64,
}

impl ParameterGroup {
    pub(crate) fn names(&self, name: &str, role: Role) -> bool {
        self.roles.contains(&role) || self.names.iter().any(|pattern| matches(pattern, name))
    }

    pub(super) fn check(&self, at: &str, checks: &mut Checks) {
        checks.require(!self.roles.is_empty() || !self.names.is_empty(), at, || {
            "names no parameters: give roles or names".into()
        });
        checks.at_least_zero(format!("{at}.weightDecay"), self.weight_decay.unwrap_or(0.0));
        checks.at_least_zero(format!("{at}.lrFactor"), self.lr_factor);
    }
}

/// Whether `name` is `pattern`, in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((before, mut rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(before) else { return false };
    while let Some((part, more)) = rest.split_once('*') {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
        rest = more;
    }
    name.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, name) in [
            ("a.0.bias", "a.0.bias"),
            ("*.bias", "a.0.bias"),
            ("a.*", "a.0.bias"),
            ("a*b*s", "a.0.bias"),
            ("*", "x"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("a.0", "a.0.bias"), ("*.bias", "bias"), ("a*aa", "aa"), ("b*", "a.0.bias")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
