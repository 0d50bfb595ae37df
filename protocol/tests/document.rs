//! `docs/protocol.md` says what the code does: sizes, labels, suites, roles, kinds, drop reasons.

#![allow(clippy::unwrap_used)]

use mixnn_protocol::admission::Turnstile;
use mixnn_protocol::cell::TagTable;
use mixnn_protocol::{CellDrop, Cover, Kind, LaneRole, Suite, Token, labels, letter, sizes};
use mixnn_protocol::{VERSION, control, registration, tensor};
use std::collections::BTreeMap;

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md"));

/// The rows of the table whose first header is `header`, after the heading or sentence `after`.
fn table(after: &str, header: &str) -> Vec<Vec<String>> {
    let start = DOCUMENT.find(after).unwrap_or_else(|| panic!("{after:?} is not in the document"));
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|c| c.trim().replace('`', "")).collect()
    };
    let mut lines = DOCUMENT[start..].lines().skip_while(|line| {
        !(line.starts_with('|') && cells(line).first().is_some_and(|c| c == header))
    });
    assert!(lines.next().is_some(), "no table {header:?} after {after:?}");
    lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// Two columns of a table, as pairs.
fn pairs(rows: &[Vec<String>], from: usize, to: usize) -> BTreeMap<String, String> {
    rows.iter().map(|row| (row[from].clone(), row[to].clone())).collect()
}

fn told<'a, T: ToString>(
    values: impl IntoIterator<Item = (&'a str, T)>,
) -> BTreeMap<String, String> {
    values.into_iter().map(|(name, value)| (name.to_owned(), value.to_string())).collect()
}

#[test]
fn sizes_agree() {
    let documented = pairs(&table("## Sizes", "name"), 0, 1);
    let coded = told([
        ("CELL", sizes::CELL),
        ("LINK_TAG", sizes::LINK_TAG),
        ("AEAD_TAG", sizes::AEAD_TAG),
        ("SENDER_LAYER", sizes::SENDER_LAYER),
        ("MAX_HOPS", sizes::MAX_HOPS),
        ("MAX_SENDER_LAYERS", sizes::MAX_SENDER_LAYERS),
        ("E2E_COUNTER", sizes::E2E_COUNTER),
        ("SEALED_FRAME", sizes::SEALED_FRAME),
        ("FRAME", sizes::FRAME),
        ("FRAME_HEADER", sizes::FRAME_HEADER),
        ("FRAME_DATA", sizes::FRAME_DATA),
        ("MARK", sizes::MARK),
        ("NODE_ID", sizes::NODE_ID),
        ("SECRET", sizes::SECRET),
    ]);
    assert_eq!(documented, coded);
}

#[test]
fn limits_agree() {
    let documented = pairs(&table("Other limits.", "name"), 0, 1);
    let coded = told([
        ("VERSION", usize::from(VERSION)),
        ("MAX_QUOTA", letter::MAX_QUOTA as usize),
        ("MIN_WIDTH", TagTable::<u8>::MIN_WIDTH as usize),
        ("STRIDE", TagTable::<u8>::STRIDE as usize),
        ("BEACONS", TagTable::<u8>::BEACONS as usize),
        ("MAX_CONTROL", control::MAX_CONTROL),
        ("MAX_DIMENSIONS", tensor::MAX_DIMENSIONS),
        ("MAX_REGISTRATION", registration::MAX_REGISTRATION),
        ("MAX_TOKENS", registration::MAX_TOKENS),
        ("TOKEN", Token::LEN),
        ("TURNSTILE", Turnstile::CAPACITY),
        ("MIN_PERIOD", Cover::MIN_PERIOD as usize),
        ("MAX_PERIOD", Cover::MAX_PERIOD as usize),
        ("MAX_LIFE", Cover::MAX_LIFE as usize),
        ("SHADE", Cover::SHADE as usize),
        ("SLACK", Cover::SLACK as usize),
    ]);
    assert_eq!(documented, coded);
}

#[test]
fn labels_agree() {
    let text = |label: &[u8]| String::from_utf8(label.to_vec()).unwrap();
    let documented = pairs(&table("## Labels", "name"), 0, 1);
    let coded = told([
        ("LETTER_INFO", text(labels::LETTER_INFO)),
        ("LETTER_BODY", text(labels::LETTER_BODY)),
        ("HOP_SECRET", text(labels::HOP_SECRET)),
        ("HOP_TAG", text(labels::HOP_TAG)),
        ("HOP_OPEN", text(labels::HOP_OPEN)),
        ("HOP_SEAL", text(labels::HOP_SEAL)),
        ("HOP_LEASE", text(labels::HOP_LEASE)),
        ("GENERATION_KEY", text(labels::GENERATION_KEY)),
        ("GENERATION_NEXT", text(labels::GENERATION_NEXT)),
        ("POD_SETUP", text(labels::POD_SETUP)),
        ("SHARD_INFO", text(labels::SHARD_INFO)),
        ("SHARD_KEY", text(labels::SHARD_KEY)),
        ("ADMISSION", text(labels::ADMISSION)),
    ]);
    assert_eq!(documented, coded);
}

#[test]
fn suites_agree() {
    let rows = table("## Suites", "suite");
    let documented: Vec<Vec<String>> = rows
        .iter()
        .map(|r| vec![r[0].replace(" (default)", ""), r[1].clone(), r[3].clone(), r[4].clone()])
        .collect();
    let coded = [Suite::XWing, Suite::X25519].map(|s| {
        let numbers = [usize::from(s.code()), s.public_key_len(), s.enc_len()];
        [vec![format!("{s:?}")], numbers.iter().map(usize::to_string).collect()].concat()
    });
    assert_eq!(documented, coded);
    assert!(rows[0][0].contains("default") && Suite::default() == Suite::XWing);
}

#[test]
fn roles_and_kinds_agree() {
    use LaneRole::{Backward, Command, Forward, Report};
    let roles = [Forward, Backward, Command, Report];
    let names: Vec<String> = roles.iter().map(|r| format!("{r:?}")).collect();
    let coded = told(names.iter().map(String::as_str).zip(roles.map(|r| r as u8)));
    assert_eq!(pairs(&table("Roles.", "role"), 0, 1), coded);

    let rows = table("Kinds, and the lanes", "kind");
    let documented: Vec<_> =
        rows.iter().map(|r| [&r[0], &r[1], &r[2]].map(String::clone)).collect();
    let carried = |kind: Kind| {
        let lanes = roles.iter().filter(|r| r.carries(kind)).map(|r| format!("{r:?}"));
        lanes.collect::<Vec<_>>().join(", ")
    };
    let coded: Vec<_> =
        Kind::ALL.iter().map(|&k| [format!("{k:?}"), (k as u8).to_string(), carried(k)]).collect();
    assert_eq!(documented, coded);
}

#[test]
fn drop_reasons_agree() {
    use CellDrop::{
        BadFrame, BadTag, EndToEnd, Exhausted, OverQuota, Replayed, TooLate, UnknownNode,
        UnknownTag,
    };
    // A reason that is added must be named here, and so in the document.
    let all = |reason: CellDrop| match reason {
        UnknownTag | BadTag | EndToEnd | BadFrame | Replayed | OverQuota | TooLate
        | UnknownNode | Exhausted => reason.reason(),
    };
    let reasons = [
        UnknownTag,
        BadTag,
        EndToEnd,
        BadFrame,
        Replayed,
        OverQuota,
        TooLate,
        UnknownNode,
        Exhausted,
    ];
    let documented: Vec<String> =
        table("every reason is counted", "reason").into_iter().map(|r| r[0].clone()).collect();
    assert_eq!(documented, reasons.map(all));
}

#[test]
fn used_lengths_agree() {
    // | hops | c | link 1 | 2 | ..
    for row in table("## Cells", "hops") {
        let hops: usize = row[0].parse().unwrap();
        let crossing = mixnn_protocol::lane::crossing(hops);
        assert_eq!(row[1], crossing.to_string());
        for link in 1..=hops + 1 {
            let used = match link.checked_sub(crossing) {
                None | Some(0) => sizes::SENDER_LAYER * (crossing - link + 1) + sizes::SEALED_FRAME,
                Some(k) => {
                    sizes::LINK_TAG + sizes::AEAD_TAG * k + sizes::MARK + sizes::SEALED_FRAME
                }
            };
            assert_eq!(row[1 + link], used.to_string(), "{hops} hops, link {link}");
            assert!(used <= sizes::CELL);
        }
        assert!(row[2 + hops + 1..].iter().all(String::is_empty));
    }
}
