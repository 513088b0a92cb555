//! Text in HTML and XML: pages that services answer themselves, and what identity writes in SAML's words. Pure.

/// Text for inside elements and quoted attributes. Control characters that XML 1.0 (section 2.2) has no place for are left out.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_ends_what_it_stands_in() {
        assert_eq!(super::escaped("a<b>&\"c'\u{0}\u{c}\n"), "a&lt;b&gt;&amp;&quot;c&#39;\n");
    }
}
