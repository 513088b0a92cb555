//! Rust source as tokens: enough to find a path or a macro call without being fooled by comments, strings and tests.
//!
//! Not a parser, on purpose: a syntax tree would cost the one-derive rule and seconds of build, for questions this answers.

/// A token that matters. Comments and lifetimes are left out; a number is `Mark('0')`, a character `Mark('\'')`: their values never matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Word(String),
    /// The value of a string literal, escapes resolved.
    Text(String),
    Mark(char),
}

#[derive(Clone, Debug)]
pub struct Located {
    pub token: Token,
    /// From 1.
    pub line: usize,
}

pub fn tokens(source: &str) -> Vec<Located> {
    let chars: Vec<char> = source.chars().collect();
    Lexer { chars, at: 0, line: 1, out: Vec::new() }.run()
}

/// The same without items that exist only in tests (`#[cfg(test)]`).
pub fn shipped(source: &str) -> Vec<Located> {
    let all = tokens(source);
    let mut out = Vec::with_capacity(all.len());
    let mut at = 0;
    while at < all.len() {
        match test_item(&all, at) {
            Some(end) => at = end,
            None => {
                out.push(all[at].clone());
                at += 1;
            }
        }
    }
    out
}

/// When a `#[cfg(test)]` begins here: where its item ends.
fn test_item(all: &[Located], start: usize) -> Option<usize> {
    let mark = |at: usize, c: char| matches!(all.get(at), Some(Located { token: Token::Mark(m), .. }) if *m == c);
    let word = |at: usize, w: &str| matches!(all.get(at), Some(Located { token: Token::Word(x), .. }) if x == w);
    if !(mark(start, '#') && mark(start + 1, '[') && word(start + 2, "cfg")) {
        return None;
    }
    let attribute_end = matching(all, start + 1)?;
    let inside = start + 3..attribute_end;
    if !inside.clone().any(|at| word(at, "test")) || inside.clone().any(|at| word(at, "not")) {
        return None;
    }
    // The item ends with its first braces outside other brackets, or with a semicolon before them.
    let mut at = attribute_end + 1;
    while at < all.len() {
        match all[at].token {
            Token::Mark('{') => return Some(matching(all, at)? + 1),
            Token::Mark(';' | ',') => return Some(at + 1),
            Token::Mark('(' | '[') => at = matching(all, at)? + 1,
            _ => at += 1,
        }
    }
    Some(all.len())
}

/// The index of the bracket that closes the one at `open`.
pub fn matching(all: &[Located], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, located) in all.iter().enumerate().skip(open) {
        match located.token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    out: Vec<Located>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn next(&mut self) -> char {
        let c = self.peek(0);
        self.at += 1;
        if c == '\n' {
            self.line += 1;
        }
        c
    }

    fn push(&mut self, token: Token, line: usize) {
        self.out.push(Located { token, line });
    }

    fn run(mut self) -> Vec<Located> {
        while self.at < self.chars.len() {
            let line = self.line;
            let c = self.peek(0);
            if c.is_whitespace() {
                self.next();
            } else if c == '/' && self.peek(1) == '/' {
                while self.at < self.chars.len() && self.peek(0) != '\n' {
                    self.next();
                }
            } else if c == '/' && self.peek(1) == '*' {
                self.block_comment();
            } else if let Some(hashes) = self.raw_string() {
                let text = self.until_hashes(hashes);
                self.push(Token::Text(text), line);
            } else if c == '"' || (matches!(c, 'b' | 'c') && self.peek(1) == '"') {
                if c != '"' {
                    self.next();
                }
                let text = self.string();
                self.push(Token::Text(text), line);
            } else if c == '\'' || (c == 'b' && self.peek(1) == '\'') {
                if self.character() {
                    self.push(Token::Mark('\''), line);
                }
            } else if c == '_' || c.is_alphabetic() {
                let mut word = String::new();
                while self.peek(0) == '_' || self.peek(0).is_alphanumeric() {
                    word.push(self.next());
                }
                self.push(Token::Word(word), line);
            } else if c.is_ascii_digit() {
                while self.peek(0) == '_' || self.peek(0).is_alphanumeric() {
                    self.next();
                }
                self.push(Token::Mark('0'), line);
            } else {
                self.next();
                self.push(Token::Mark(c), line);
            }
        }
        self.out
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            if self.peek(0) == '/' && self.peek(1) == '*' {
                depth += 1;
                self.next();
            } else if self.peek(0) == '*' && self.peek(1) == '/' {
                depth -= 1;
                self.next();
            }
            self.next();
            if depth == 0 {
                return;
            }
        }
    }

    /// At `r"`, `r#"`, `br#"`…: steps over the opening and gives the number of hashes. `r#name` is no string.
    fn raw_string(&mut self) -> Option<usize> {
        let prefix = match (self.peek(0), self.peek(1)) {
            ('r', _) => 1,
            ('b' | 'c', 'r') => 2,
            _ => return None,
        };
        let hashes = (0..).take_while(|n| self.peek(prefix + n) == '#').count();
        if self.peek(prefix + hashes) != '"' {
            return None;
        }
        self.at += prefix + hashes + 1;
        Some(hashes)
    }

    fn until_hashes(&mut self, hashes: usize) -> String {
        let mut text = String::new();
        while self.at < self.chars.len() {
            if self.peek(0) == '"' && (1..=hashes).all(|n| self.peek(n) == '#') {
                self.at += hashes + 1;
                break;
            }
            text.push(self.next());
        }
        text
    }

    fn string(&mut self) -> String {
        self.next();
        let mut text = String::new();
        while self.at < self.chars.len() {
            match self.next() {
                '"' => break,
                '\\' => self.escape(&mut text),
                c => text.push(c),
            }
        }
        text
    }

    fn escape(&mut self, text: &mut String) {
        match self.next() {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            '0' => text.push('\0'),
            'x' => {
                let digits: String = [self.next(), self.next()].iter().collect();
                text.extend(u8::from_str_radix(&digits, 16).ok().map(char::from));
            }
            'u' => {
                let mut digits = String::new();
                while self.at < self.chars.len() && self.peek(0) != '}' {
                    digits.push(self.next());
                }
                self.next();
                text.extend(u32::from_str_radix(digits.trim_start_matches('{'), 16).ok().and_then(char::from_u32));
            }
            // A line break and the indentation after it are not part of the string.
            '\n' => {
                while self.peek(0).is_whitespace() {
                    self.next();
                }
            }
            c => text.push(c),
        }
    }

    /// Steps over a character literal (true) or a lifetime (false).
    fn character(&mut self) -> bool {
        if self.peek(0) == 'b' {
            self.next();
        }
        self.next();
        if self.peek(0) == '\\' {
            self.next();
            self.next();
            while self.at < self.chars.len() && self.peek(0) != '\'' {
                self.next();
            }
            self.next();
            return true;
        }
        if self.peek(1) == '\'' {
            self.next();
            self.next();
            return true;
        }
        while self.peek(0) == '_' || self.peek(0).is_alphanumeric() {
            self.next();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(tokens: &[Located]) -> String {
        tokens
            .iter()
            .map(|t| match &t.token {
                Token::Word(w) => w.clone(),
                Token::Text(t) => format!("{t:?}"),
                Token::Mark(c) => c.to_string(),
            })
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn literals_and_comments() {
        let source = r###"a /* x /* y */ "no" */ 'b' '\'' 'life b'"' b"by" r#"ra"w"# r#type "q\"\u{4e2d}\x41
  \
            joined" 12.5e3 // "c"
z"###;
        assert_eq!(show(&tokens(source)), r###"a ' ' ' "by" "ra\"w" r # type "q\"中A\n  joined" 0 . 0 z"###);
        assert_eq!(tokens("a\n\nb")[1].line, 3);
    }

    #[test]
    fn tests_are_left_out() {
        let source = "fn a() { x }\n#[cfg(test)]\nmod tests { fn b() { y } }\n#[cfg(not(test))] fn c() {}\n#[cfg(test)] use q;\n#[cfg(any(test, unix))] fn d(a: [u8; 2]) -> u8 { y }\nfn e() {}";
        let text = show(&shipped(source));
        assert_eq!(text, "fn a ( ) { x } # [ cfg ( not ( test ) ) ] fn c ( ) { } fn e ( ) { }");
    }

    #[test]
    fn half_a_file_does_no_harm() {
        for source in ["\"open", "r#\"open", "/* open", "'", "b'\\", "#[cfg(test)] mod x {", "\\u{", "\"\\u{zz"] {
            tokens(source);
            shipped(source);
        }
    }
}
