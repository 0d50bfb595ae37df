//! What the command prints: the one place that writes to the terminal.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use crate::args::Colour;
use owo_colors::{OwoColorize, Stream};

/// Follows `--color`; without it, the terminal and `NO_COLOR`.
pub fn set_colour(colour: Colour) {
    match colour {
        Colour::Auto => {}
        Colour::Always => owo_colors::set_override(true),
        Colour::Never => owo_colors::set_override(false),
    }
}

/// A line of the result.
pub fn line(text: impl AsRef<str>) {
    println!("{}", text.as_ref());
}

/// A line beside the result: where things are, what happens.
pub fn note(text: impl AsRef<str>) {
    eprintln!("{}", text.as_ref());
}

/// A warning.
pub fn warning(text: impl AsRef<str>) {
    let label = "warning:";
    eprintln!("{} {}", label.if_supports_color(Stream::Stderr, |t| t.yellow()), text.as_ref());
}

/// The error that ends the command.
pub fn error(error: &anyhow::Error) {
    let label = "error:";
    eprintln!("{} {error:#}", label.if_supports_color(Stream::Stderr, |t| t.red()));
}

/// Green for good, on a terminal.
pub fn good(text: &str) -> String {
    text.if_supports_color(Stream::Stdout, |t| t.green()).to_string()
}

/// Red for bad, on a terminal.
pub fn bad(text: &str) -> String {
    text.if_supports_color(Stream::Stdout, |t| t.red()).to_string()
}
