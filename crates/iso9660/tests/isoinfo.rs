//! The image as an independent reader sees it (program `isoinfo`, package `genisoimage`).

use base::Timestamp;
use iso9660::{File, write};
use std::path::Path;
use std::process::Command;

fn isoinfo(image: &Path, args: &[&str]) -> String {
    let out = Command::new("isoinfo").arg("-i").arg(image).args(args).output().expect("isoinfo runs (package genisoimage)");
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn three_names_and_the_content() {
    let files =
        [File::new("user-data", "#cloud-config\nhostname: a\n"), File::new("meta-data", "x".repeat(5000)), File::new("network-config", "")];
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("seed.iso");
    std::fs::write(&image, write("cidata", &files, Timestamp::parse("2026-02-03T04:05:06Z").unwrap()).unwrap()).unwrap();
    let info = isoinfo(&image, &["-d"]);
    for want in
        ["Volume id: cidata", "Joliet with UCS level 3 found", "Rock Ridge signatures version 1 found", "Logical block size is: 2048"]
    {
        assert!(info.contains(want), "{want} in\n{info}");
    }
    let sorted = |text: String| {
        let mut names: Vec<String> = text.lines().map(|l| l.trim_end().to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(sorted(isoinfo(&image, &["-f", "-R"])), ["/meta-data", "/network-config", "/user-data"]);
    assert_eq!(sorted(isoinfo(&image, &["-f", "-J"])), ["/meta-data", "/network-config", "/user-data"]);
    assert_eq!(sorted(isoinfo(&image, &["-f"])), ["/META_DAT.;1", "/NETWORK_.;1", "/USER_DAT.;1"]);
    for file in &files {
        let path = format!("/{}", file.name);
        assert_eq!(isoinfo(&image, &["-R", "-x", &path]).into_bytes(), file.content);
    }
    let long = isoinfo(&image, &["-R", "-l"]);
    assert!(long.contains("-r--r--r--") && long.contains("Feb  3 2026"), "{long}");
}
