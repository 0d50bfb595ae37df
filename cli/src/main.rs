//! `mixnn`: models over mix relays, on this machine; as `kubectl-mixnn`, the plugin that looks at them on a cluster.

mod args;
mod checkpoints;
mod cluster;
mod compare;
mod complete;
mod convert;
mod data;
mod init;
mod man;
mod markup;
mod output;
mod page;
mod plugin;
mod predict;
mod progress;
mod run;
mod spark;
mod table;
mod timings;
mod topology;
mod validate;

use args::{Cli, Command, DataCommand};
use clap::FromArgMatches;
use std::process::ExitCode;

/// Ended by Ctrl-C: 128 + SIGINT, as shells say it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    if plugin::is_called(complete::NAME) {
        let words: Vec<String> = std::env::args().skip(1).collect();
        complete::lines(&mut plugin::command(), &words).iter().for_each(output::line);
        return ExitCode::SUCCESS;
    }
    let matches = plugin::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    output::set_colour(cli.color);
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => in_runtime(run::run(args)),
        Command::Reference(args) => in_runtime(run::reference(args)),
        Command::Serve(args) => in_runtime(run::serve(args)),
        Command::Predict(args) => predict::predict(&args).map(|()| ExitCode::SUCCESS),
        Command::Import(args) => in_runtime(run::import(args)),
        Command::Export(args) => in_runtime(run::export(args)),
        Command::Compare(args) => compare::compare(&args).map(|()| ExitCode::SUCCESS),
        Command::Page(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(page::page(args)).map(|()| ExitCode::SUCCESS)
        }
        Command::Convert(args) => convert::convert(&args).map(|()| ExitCode::SUCCESS),
        Command::Validate(args) => validate::validate(&args)
            .map(|valid| if valid { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Command::Topology(args) => topology::topology(&args).map(|()| ExitCode::SUCCESS),
        Command::Init(args) => init::init(&args).map(|()| ExitCode::SUCCESS),
        Command::Checkpoints(command) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(checkpoints::checkpoints(command))
        }
        Command::Data(DataCommand::Digits(args)) => data::digits(&args).map(|()| ExitCode::SUCCESS),
        Command::Data(DataCommand::Ls(args)) => data::ls(&args).map(|()| ExitCode::SUCCESS),
        Command::Data(DataCommand::Preview(args)) => {
            data::preview(&args).map(|()| ExitCode::SUCCESS)
        }
        Command::Status(args) => in_cluster(cluster::status(&args)),
        Command::Check(args) => in_cluster(cluster::check(&args)),
        Command::Events(args) => in_cluster(cluster::events(&args)),
        Command::Logs(args) => in_cluster(cluster::logs(&args)),
        Command::Man(args) => man::man(&args).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut plugin::command(), "mixnn", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// On the main thread, because children end with the thread that started them.
fn in_runtime(task: impl Future<Output = anyhow::Result<run::Ending>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(match runtime.block_on(task)? {
        run::Ending::Good => ExitCode::SUCCESS,
        run::Ending::Bad => ExitCode::FAILURE,
        run::Ending::Interrupted => ExitCode::from(INTERRUPTED),
    })
}

fn in_cluster(task: impl Future<Output = anyhow::Result<bool>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(if runtime.block_on(task)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
