//! Quantities and durations, as Kubernetes writes them, checked.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::time::Duration;

/// An amount of a resource: `500m`, `1`, `2Gi`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Amount(pub String);

impl Amount {
    /// The amount in thousandths of its unit (of a core, a byte, a device), if it is one.
    pub fn millis(&self) -> Option<i128> {
        const SUFFIXES: [(&str, i128); 14] = [
            ("Ki", 1 << 10),
            ("Mi", 1 << 20),
            ("Gi", 1 << 30),
            ("Ti", 1 << 40),
            ("Pi", 1 << 50),
            ("Ei", 1 << 60),
            ("m", 0),
            ("k", 1_000),
            ("M", 1_000_000),
            ("G", 1_000_000_000),
            ("T", 1_000_000_000_000),
            ("P", 1_000_000_000_000_000),
            ("E", 1_000_000_000_000_000_000),
            ("", 1),
        ];
        let (number, scale) =
            SUFFIXES.iter().find_map(|(s, f)| self.0.strip_suffix(s).map(|n| (n, *f)))?;
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 18 || part.len() > 3 || !digits(whole) || !digits(part)
        {
            return None;
        }
        let thousandths = format!("{whole}{part:0<3}").parse::<i128>().ok()?;
        // Rounded up, as Kubernetes does: no amount is below a thousandth.
        let millis = if scale == 0 { (thousandths + 999) / 1000 } else { thousandths * scale };
        Some(millis)
    }

    /// As the type of Kubernetes' own objects.
    pub fn quantity(&self) -> Quantity {
        Quantity(self.0.clone())
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        let amount = Self(match Written::deserialize(d)? {
            Written::Number(n) => n.to_string(),
            Written::Text(text) => text,
        });
        let wrong = || {
            let text = format!("'{}' is no amount: write it as 500m, 2 or 1Gi", amount.0);
            serde::de::Error::custom(text)
        };
        amount.millis().ok_or_else(wrong)?;
        Ok(amount)
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An amount, as 500m, 2 or 1Gi.",
            "x-kubernetes-int-or-string": true,
            "pattern": r"^[0-9]{1,18}(\.[0-9]{1,3})?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
        })
    }
}

/// A time span as `90s`, `15m`, `2h` or `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    fn parse(text: &str) -> Option<Self> {
        let parsed: kube::core::Duration = text.parse().ok()?;
        (!parsed.is_negative()).then(|| Self(parsed.into()))
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        kube::core::Duration::from(self.0).serialize(s)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(d)?;
        let wrong = || {
            serde::de::Error::custom(format!("'{text}' is no time span: write it as 90s or 15m"))
        };
        Self::parse(&text).ok_or_else(wrong)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A time span, as 90s, 15m or 1h30m.",
            "maxLength": 20,
            "pattern": r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Amount;

    #[test]
    fn amounts_compare_by_value() {
        let millis = |text: &str| Amount(text.into()).millis();
        assert_eq!(millis("500m"), Some(500));
        assert_eq!(millis("0.5"), Some(500));
        assert_eq!(millis("2"), Some(2000));
        assert_eq!(millis("1Gi"), Some(1024 * 1024 * 1024 * 1000));
        assert_eq!(millis("1.5k"), Some(1_500_000));
        for bad in ["", "m", "-1", "1e3", "1 Gi", "0x1", "1.2345", "Gi"] {
            assert_eq!(millis(bad), None, "{bad}");
        }
    }
}
