//! Words for processor architectures (spec 21 §12.4).

/// The platform's word for an architecture, whatever people call it. Unknown words are kept in lower case; empty stays empty.
pub fn normalise(word: &str) -> String {
    let word = word.trim().to_ascii_lowercase();
    match word.as_str() {
        "amd64" | "x86_64" | "x64" | "64bit" | "x86-64" => "x86_64".into(),
        "i386" | "i486" | "i586" | "i686" | "x86" | "x86_32" | "32bit" => "x86_32".into(),
        "arm64" | "aarch64" | "armv8" | "armv8l" => "aarch64".into(),
        other if other.starts_with("arm") => "aarch32".into(),
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn words() {
        for (from, to) in
            [("AMD64", "x86_64"), ("i686", "x86_32"), ("arm64", "aarch64"), ("armhf", "aarch32"), ("riscv64", "riscv64"), ("", "")]
        {
            assert_eq!(super::normalise(from), to, "{from}");
        }
    }
}
