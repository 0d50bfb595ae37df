//! `mixnn man`.

use crate::args::{Cli, ManArgs};
use crate::output;
use clap::CommandFactory;

/// Writes a manual page for the command and each of its subcommands.
pub fn man(args: &ManArgs) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.out)?;
    clap_mangen::generate_to(Cli::command(), &args.out)?;
    let pages = std::fs::read_dir(&args.out)?.count();
    let out = args.out.display();
    output::line(format!("{pages} pages in {out}; read one with: man -l {out}/mixnn.1"));
    Ok(())
}
