//! Asks the person at the terminal before something is done that cannot be taken back.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::bail;

/// Whether the person says yes. Without a terminal, nobody has said that it is meant.
pub(crate) fn is_meant(question: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to ask whether that is meant: say --yes");
    }
    let mut output = io::stdout().lock();
    write!(output, "{question} [y/N] ")?;
    output.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
