//! Completions for `kubectl mixnn`: kubectl asks `kubectl_complete-mixnn`, another name of this command.

use clap::{Arg, ArgAction, Command};

/// What kubectl looks for in PATH.
pub const NAME: &str = "kubectl_complete-mixnn";
/// To kubectl, of its library's ShellCompDirectives: these are all, and files are none of them.
const NO_FILES: &str = ":4";
/// Complete with files.
const FILES: &str = ":0";

/// Lines for kubectl: words with what they are, then what to do with them. The last of `words` is not whole yet.
pub fn lines(command: &mut Command, words: &[String]) -> Vec<String> {
    command.build();
    let (last, before) = words.split_last().map_or(("", &[][..]), |(l, b)| (l.as_str(), b));
    let mut here: &Command = command;
    let mut option: Option<&Arg> = None;
    for word in before {
        option = match option {
            // The word was the option's value.
            Some(_) => None,
            None => valued(here, word),
        };
        if let Some(next) = here.find_subcommand(word) {
            here = next;
        }
    }
    let all = match option {
        Some(option) => values(option),
        None if last.starts_with('-') => options(here),
        None => subcommands(here),
    };
    let fitting = all.into_iter().filter(|(word, _)| word.starts_with(last));
    let mut lines: Vec<String> = fitting.map(|(word, what)| format!("{word}\t{what}")).collect();
    lines.push(if lines.is_empty() { FILES } else { NO_FILES }.to_owned());
    lines
}

/// The option that this word is, if its value is the next word.
fn valued<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let is = |arg: &&Arg| {
        let long = arg.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long));
        let short = arg.get_short().is_some_and(|short| word == format!("-{short}"));
        (long || short) && matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
    };
    command.get_arguments().find(is)
}

type Words = Vec<(String, String)>;

fn values(arg: &Arg) -> Words {
    let values = arg.get_possible_values().into_iter().filter(|v| !v.is_hide_set());
    values.map(|v| (v.get_name().to_owned(), text(v.get_help()))).collect()
}

fn options(command: &Command) -> Words {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    shown.filter_map(|arg| Some((format!("--{}", arg.get_long()?), text(arg.get_help())))).collect()
}

fn subcommands(command: &Command) -> Words {
    let commands = command.get_subcommands().filter(|c| !c.is_hide_set());
    let commands = commands.map(|c| (c.get_name().to_owned(), text(c.get_about())));
    commands.chain(command.get_positionals().flat_map(values)).collect()
}

/// The first line of a help text.
fn text(help: Option<&clap::builder::StyledStr>) -> String {
    let help = help.map(ToString::to_string).unwrap_or_default();
    help.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::CommandFactory;

    fn complete(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        let lines = lines(&mut Cli::command(), &words);
        let first = |line: &String| line.split('\t').next().unwrap_or_default().to_owned();
        lines.iter().map(first).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_of_each_place() {
        assert_eq!(complete(&["sta"]), "status :4");
        assert_eq!(complete(&["checkpoints", "v"]), "verify :4");
        assert_eq!(complete(&["status", "--w"]), "--watch :4");
        assert_eq!(complete(&["status", "-o", ""]), "text json yaml :4");
        assert_eq!(complete(&["status", "-n", "status", "--w"]), "--watch :4");
        assert_eq!(complete(&["completions", "z"]), "zsh :4");
        assert_eq!(complete(&["validate", "-f", "mod"]), ":0");
    }
}
