//! What the fuzzer found worth keeping, put before the parsers again with every run of the tests: no nightly compiler is needed for that.

#[path = "../../../fuzz/src/lib.rs"]
mod targets;

use std::path::Path;

fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("an entry").path();
        let data = std::fs::read(&path).expect("a file of the corpus");
        let fine = std::panic::catch_unwind(|| target(&data));
        assert!(fine.is_ok(), "{} does not hold for {}", name, path.display());
        seen += 1;
    }
    assert!(seen > 5, "{} has {seen} files: where is the corpus?", folder.display());
}

#[test]
fn tokens() {
    replay("token", targets::token);
}

#[test]
fn signatures() {
    replay("sigv4", targets::sigv4);
}

#[test]
fn policies() {
    replay("policy", targets::policy);
}

#[test]
fn queries() {
    replay("query", targets::query);
}
