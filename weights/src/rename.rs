//! Other names for the same tensors.

/// Rules that rewrite names: `conv1=conv1.0` makes `conv1.weight` into `conv1.0.weight`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rename(Vec<(String, String)>);

impl Rename {
    /// Reads rules of the form `OLD=NEW`. OLD is a whole name, or a prefix that ends at a dot; an empty
    /// NEW takes the prefix away.
    ///
    /// # Errors
    /// The rule that has no `=`, or nothing before it.
    pub fn parse(rules: &[String]) -> Result<Self, String> {
        let rule = |rule: &String| {
            let (old, new) =
                rule.split_once('=').filter(|(old, _)| !old.is_empty()).ok_or_else(|| {
                    format!("'{rule}' is no rule: write OLD=NEW, as in conv1=conv1.0")
                })?;
            Ok((old.to_owned(), new.to_owned()))
        };
        rules.iter().map(rule).collect::<Result<_, _>>().map(Self)
    }

    /// The name by the first rule that fits, or as it was.
    pub fn apply(&self, name: &str) -> String {
        let by = |(old, new): &(String, String)| {
            let rest = name.strip_prefix(old.as_str())?;
            match (rest.strip_prefix('.'), new.is_empty()) {
                (Some(rest), true) => Some(rest.to_owned()),
                (Some(rest), false) => Some(format!("{new}.{rest}")),
                (None, _) => rest.is_empty().then(|| new.clone()),
            }
        };
        self.0.iter().find_map(by).unwrap_or_else(|| name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn prefixes_end_at_dots() {
        let rules = [
            "conv1=conv1.0".to_owned(),
            "module=".to_owned(),
            "head.weight=fc.0.weight".to_owned(),
        ];
        let rename = Rename::parse(&rules).unwrap();
        assert_eq!(rename.apply("conv1.weight"), "conv1.0.weight");
        assert_eq!(rename.apply("conv10.weight"), "conv10.weight");
        assert_eq!(rename.apply("module.a.b"), "a.b");
        assert_eq!(rename.apply("head.weight"), "fc.0.weight");
        assert!(Rename::parse(&["=x".to_owned()]).is_err());
        assert!(Rename::parse(&["x".to_owned()]).unwrap_err().contains("OLD=NEW"));
    }
}
