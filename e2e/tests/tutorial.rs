//! docs/tutorial.md is true: its commands run, in order, and print what it says.

#![allow(clippy::unwrap_used)]

mod common;

use std::fmt::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};

/// Stands for lines, or the rest of a line, that may be anything.
const ANYTHING: &str = "...";
/// Between what commands print. No command prints it.
const MARK: &str = "@@ end of command";

/// A command, and what it prints.
struct Example {
    line: usize,
    command: String,
    printed: Vec<String>,
}

/// Commands of all blocks with prompts.
fn examples(page: &str) -> Vec<Example> {
    let mut all: Vec<Example> = Vec::new();
    let mut inside = false;
    for (number, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if !inside {
        } else if let Some(command) = line.strip_prefix("$ ") {
            let (line, command) = (number + 1, command.to_owned());
            all.push(Example { line, command, printed: Vec::new() });
        } else {
            all.last_mut().expect("a block begins with a command").printed.push(line.to_owned());
        }
    }
    all
}

/// Runs all commands in one shell, in an empty folder; gives what each printed.
fn run(commands: &[String]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let mut script = String::from("exec 2>&1\n");
    for command in commands {
        writeln!(script, "{command}\necho '{MARK}' $?").unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("bash")
        .args(["-c", &script])
        .env("PATH", format!("{}:{path}", common::bin_dir().display()))
        .env_remove("MIXNN_BIN_DIR")
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let mut all = vec![Vec::new()];
    for line in said.lines() {
        match line.split_once(MARK) {
            Some((rest, status)) => {
                // What does not end its line is a line all the same.
                all.last_mut().unwrap().extend((!rest.is_empty()).then(|| rest.to_owned()));
                let command = &commands[all.len() - 1];
                assert_eq!(status.trim(), "0", "{command}: {:#?}", all.last());
                all.push(Vec::new());
            }
            None => all.last_mut().unwrap().push(line.to_owned()),
        }
    }
    all.pop();
    all
}

/// A line without what differs from run to run: numbers, digests, curves, widths.
fn plain(line: &str) -> String {
    let mut words = Vec::new();
    for word in line.split_whitespace() {
        let curve = |c: char| ('▁'..='█').contains(&c);
        let rule = |c: char| "─═".contains(c);
        let digest = word.len() == 16 && word.chars().all(|c| c.is_ascii_hexdigit());
        let mut plain = String::new();
        for c in word.chars() {
            let kind = match c {
                _ if digest => '#',
                '0'..='9' => '#',
                '.' if plain.ends_with('#') => '#',
                c if curve(c) => '▁',
                c if rule(c) => '─',
                c => c,
            };
            if !("#▁─".contains(kind) && plain.ends_with(kind)) {
                plain.push(kind);
            }
        }
        words.push(plain);
    }
    words.join(" ")
}

fn same(expected: &str, printed: &str) -> bool {
    match expected.strip_suffix(ANYTHING) {
        Some(start) => plain(printed).starts_with(&plain(start)),
        None => plain(expected) == plain(printed),
    }
}

/// Whether lines are as expected. `...` alone stands for any lines, none included.
fn fits(expected: &[String], printed: &[String]) -> bool {
    match (expected.split_first(), printed.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((first, later)), _) if first == ANYTHING => {
            (0..=printed.len()).any(|skipped| fits(later, &printed[skipped..]))
        }
        (Some((first, later)), Some((line, rest))) => same(first, line) && fits(later, rest),
        (Some(_), None) => false,
    }
}

#[test]
fn the_tutorial_is_true() {
    let page = include_str!("../../docs/tutorial.md");
    // Its port may be somebody's.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let examples = examples(page);
    assert!(examples.len() > 10);
    let commands: Vec<String> = examples
        .iter()
        .map(|example| example.command.replace(":8000", &format!(":{free}")))
        .collect();
    let printed = run(&commands);
    assert_eq!(printed.len(), examples.len(), "{printed:#?}");
    for (example, printed) in examples.iter().zip(&printed) {
        let Example { line, command, printed: expected } = example;
        assert!(
            fits(expected, printed),
            "docs/tutorial.md:{line}: $ {command}\nprints\n{}\nbut the page has\n{}",
            printed.join("\n"),
            expected.join("\n")
        );
    }
}

#[test]
fn what_counts_as_the_same() {
    assert!(same("step 12 of 30, 0.5 s", "step 1 of  376,  17.25 s"));
    assert!(same("digest 10c5112364b69d3f", "digest ffffffffffffffff"));
    assert!(same("weights are in ...", "weights are in /tmp/x"));
    assert!(same("───", "─────") && same("█▆▁", "▁▁▂▃"));
    assert!(!same("wrote model.yaml", "wrote model.yml"));
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(fits(&lines("a\n...\nd"), &lines("a\nb\nc\nd")));
    assert!(!fits(&lines("a\n...\nd"), &lines("a\nb")));
}
