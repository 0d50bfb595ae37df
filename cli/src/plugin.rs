//! The command line under the name that it was called by: `mixnn`, or `kubectl mixnn`.

use crate::args::Cli;
use clap::{Command, CommandFactory};
use std::path::Path;

/// What kubectl calls for `kubectl mixnn`.
const PLUGIN: &str = "kubectl-mixnn";

/// The command line; called as a plugin, its help and examples say `kubectl mixnn`.
pub fn command() -> Command {
    if is_plugin() { renamed(Cli::command()).bin_name("kubectl mixnn") } else { Cli::command() }
}

/// What a person types to call this command.
pub fn name() -> &'static str {
    if is_plugin() { "kubectl mixnn" } else { "mixnn" }
}

fn is_plugin() -> bool {
    is_called(PLUGIN)
}

/// Whether this process was started under this name.
pub fn is_called(name: &str) -> bool {
    let called = std::env::args_os().next().unwrap_or_default();
    Path::new(&called).file_stem().is_some_and(|stem| stem == name)
}

fn renamed(command: Command) -> Command {
    let examples = command.get_after_help().map(|text| {
        let lines = text.to_string();
        lines.replace("  mixnn ", "  kubectl mixnn ").replace("`mixnn ", "`kubectl mixnn ")
    });
    let command = match examples {
        Some(examples) => command.after_help(examples),
        None => command,
    };
    command.mut_subcommands(renamed)
}
