//! What travels as JSON: exact numbers, one form, bounded length.

#![allow(clippy::unwrap_used)]

use mixnn_protocol::control::{self, Command, ControlError, MAX_CONTROL, Report};
use mixnn_protocol::registration::{Claims, Registered, Registration, TokensRequest};
use mixnn_protocol::{Claim, NodeId};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// The bits of a result depend on it: a learning rate off by one unit trains another model.
    #[test]
    fn numbers_arrive_bit_for_bit(loss in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL) {
        let report = Report::Loss { loss, answers: 2, correct: 1, top5: 2 };
        let read: Report = control::parse(&control::to_bytes(&report).unwrap()).unwrap();
        let Report::Loss { loss: arrived, .. } = read else { panic!("a loss") };
        prop_assert_eq!(arrived.to_bits(), loss.to_bits());
    }

    #[test]
    fn a_node_id_is_read_as_it_was_written(bytes: [u8; 16]) {
        let id = NodeId::from_bytes(bytes);
        let text = serde_json::to_string(&id).unwrap();
        prop_assert_eq!(text.len(), 22 + 2);
        prop_assert_eq!(serde_json::from_str::<NodeId>(&text).unwrap(), id);
    }
}

#[test]
fn a_number_that_is_none_is_no_report() {
    // JSON has no word for it: a layer says `failed` instead.
    let bytes =
        control::to_bytes(&Report::Loss { loss: f64::NAN, answers: 0, correct: 0, top5: 0 })
            .unwrap();
    assert!(control::parse::<Report>(&bytes).is_err());
}

#[test]
fn a_control_message_that_is_too_long_is_not_even_read() {
    let long = vec![b' '; MAX_CONTROL + 1];
    assert!(
        matches!(control::parse::<Command>(&long), Err(ControlError::TooLong(n)) if n == MAX_CONTROL + 1)
    );
    let mut fits = br#""finish""#.to_vec();
    fits.resize(MAX_CONTROL, b' ');
    assert_eq!(control::parse::<Command>(&fits).unwrap(), Command::Finish);
}

#[test]
fn what_is_not_in_the_table_is_refused() {
    let command = |text: &str| control::parse::<Command>(text.as_bytes()).is_err();
    assert!(!command(r#""rollback""#));
    for text in [r#""Rollback""#, r#""rollback" 1"#, r#"{"rollback": 1}"#, "null", "", "[]"] {
        assert!(command(text), "{text}");
    }
    let report = |text: &str| control::parse::<Report>(text.as_bytes()).is_err();
    assert!(!report(r#"{"loss": {"loss": 1, "answers": 3, "correct": 2, "top5": 3}}"#));
    for text in [
        r#"{"loss": {"loss": 1, "answers": 3, "correct": 2, "top5": 3, "more": 3}}"#,
        r#"{"loss": {"loss": 1, "loss": 1, "answers": 3, "correct": 2, "top5": 3}}"#,
        r#"{"loss": {"loss": 1, "answers": 3, "correct": -2, "top5": 3}}"#,
        r#"{"loss": {"loss": 1}}"#,
        r#"{"digest": "AAAA"}"#,
        r#"{"failed": {"reason": "other", "message": ""}}"#,
    ] {
        assert!(report(text), "{text}");
    }
    assert!(control::parse::<Command>("[".repeat(100_000).as_bytes()).is_err(), "deeply nested");
}

#[test]
fn requests_refuse_unknown_fields_and_answers_ignore_them() {
    let refused = |text: &str| serde_json::from_str::<Registration>(text).is_err();
    let good =
        r#"{"protocolVersion": 1, "class": "layer", "url": "u", "suite": "XWing", "publicKey": """#;
    assert!(!refused(&format!("{good}}}")));
    assert!(refused(&format!(r#"{good}, "more": 1}}"#)));
    assert!(serde_json::from_str::<Claims>(r#"{"claims": [], "more": 1}"#).is_err());
    assert!(serde_json::from_str::<TokensRequest>(r#"{"blinded": [], "more": 1}"#).is_err());
    let answer = r#"{"id": "AAECAwQFBgcICQoLDA0ODw", "admissionKey": "", "more": 1}"#;
    assert!(serde_json::from_str::<Registered>(answer).is_ok());
}

#[test]
fn text_forms_of_bytes_are_canonical() {
    let id = |text: &str| serde_json::from_str::<NodeId>(&format!("\"{text}\"")).is_err();
    assert!(!id("AAECAwQFBgcICQoLDA0ODw"));
    for text in [
        "AAECAwQFBgcICQoLDA0ODw==", // padding
        "AAECAwQFBgcICQoLDA0ODx",   // bits that belong to no byte
        "AAECAwQFBgcICQoLDA0OD",    // too short
        "AAECAwQFBgcICQoLDA0ODwA",  // too long
        "AAECAwQFBgcICQoLDA0O/w",   // the other alphabet
        " AAECAwQFBgcICQoLDA0ODw",
    ] {
        assert!(id(text), "{text}");
    }
    let claim = |text: &str| serde_json::from_str::<Claim>(&format!("\"{text}\"")).is_err();
    assert!(!claim("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
    for text in ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "AAAA", "", "*"] {
        assert!(claim(text), "{text}");
    }
}
