//! What `--help` says, for a few commands: generated ones and our own. `WOLKE_GOLDEN=write` writes them anew; the difference is the change.

use clap::{Command, error::ErrorKind};
use std::path::Path;

fn help(line: &str) -> String {
    let whole = Command::new("wolke").term_width(100).subcommands(cli::commands());
    let words = line.split(' ').chain(["--help"]);
    let shown = whole.try_get_matches_from(words).expect_err("help is not a command to run");
    assert_eq!(shown.kind(), ErrorKind::DisplayHelp, "{line}");
    shown.to_string()
}

#[test]
fn help_is_the_one_in_the_tree() {
    let mut changed = Vec::new();
    for line in [
        "wolke server",
        "wolke server create",
        "wolke server list",
        "wolke server stop",
        "wolke serversku create",
        "wolke image create",
        "wolke login",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(line.replace(' ', "-") + ".txt");
        let text = help(line);
        if std::env::var("WOLKE_GOLDEN").as_deref() == Ok("write") {
            std::fs::write(&path, &text).expect("the tree can be written");
        }
        if std::fs::read_to_string(&path).unwrap_or_default() != text {
            changed.push(line);
        }
    }
    assert!(changed.is_empty(), "help has changed for {changed:?}: look at it with WOLKE_GOLDEN=write and git diff");
}
