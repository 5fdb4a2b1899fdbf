//! The harness for people: `tenterhook-harness`.

mod commands {
    pub mod receive;
}

use clap::{Parser, Subcommand};

/// Look at a webhook policy at work: receivers to point webhooks at, and what they were sent.
#[derive(Parser)]
#[command(name = "tenterhook-harness", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Receive(commands::receive::Receive),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Receive(receive) => receive.run().await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
