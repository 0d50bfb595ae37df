//! What the command prints: the one place that writes to the terminal.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use crate::args::{Colour, Format};
use owo_colors::{OwoColorize, Stream};
use std::io::IsTerminal;

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

/// An empty screen on a terminal, an empty line elsewhere.
pub fn clear() {
    if std::io::stdout().is_terminal() {
        print!("\x1b[2J\x1b[H");
    } else {
        println!();
    }
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

/// Bold, on a terminal.
pub fn strong(text: &str) -> String {
    text.if_supports_color(Stream::Stdout, |t| t.bold()).to_string()
}

/// Whether the result may have colours.
pub fn has_colour() -> bool {
    let coloured = "x".if_supports_color(Stream::Stdout, |t| t.bold()).to_string();
    coloured != "x"
}

/// Two pixels in one character.
pub fn half_block(upper: [u8; 3], lower: [u8; 3]) -> String {
    let ([r, g, b], [lr, lg, lb]) = (upper, lower);
    "▀".truecolor(r, g, b).on_truecolor(lr, lg, lb).to_string()
}

/// A question, without the end of its line.
pub fn prompt(text: &str) {
    eprint!("{text}");
}

/// A result for programs.
pub fn value(format: Format, value: &impl serde::Serialize) -> anyhow::Result<()> {
    match format {
        Format::Yaml => line(mixnn_crds::yaml_of(value)?.trim_end()),
        Format::Text | Format::Json => line(serde_json::to_string_pretty(value)?),
    }
    Ok(())
}
