//! Distinguished names (RFC 4514), as far as comparing them goes.

/// The same text for two ways of writing one name: case, spaces around separators and ways of escaping do not count.
///
/// Attribute values are compared without case, as directories do for nearly all that names are made of.
pub fn normal(dn: &str) -> String {
    parts(dn).join(",")
}

/// Whether a normal name lies below another one, or is it.
pub fn within(dn: &str, tree: &str) -> bool {
    tree.is_empty() || dn == tree || dn.strip_suffix(tree).is_some_and(|rest| rest.ends_with(','))
}

/// Its parts, each normal, the object's own first.
fn parts(dn: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut part: Vec<u8> = Vec::new();
    // How much of the part a trim at its end must leave: an escaped space belongs to the value.
    let mut keep = 0;
    let mut bytes = dn.bytes().peekable();
    let mut finish = |part: &mut Vec<u8>, keep: &mut usize| {
        while part.len() > *keep && part.last() == Some(&b' ') {
            part.pop();
        }
        out.push(written(part));
        part.clear();
        *keep = 0;
    };
    while let Some(b) = bytes.next() {
        match b {
            b'\\' => {
                let hex = |c: Option<&u8>| c.and_then(|c| (*c as char).to_digit(16));
                let byte = match hex(bytes.peek()) {
                    Some(high) => {
                        bytes.next();
                        match hex(bytes.peek()) {
                            Some(low) => {
                                bytes.next();
                                (high * 16 + low) as u8
                            }
                            None => continue,
                        }
                    }
                    None => match bytes.next() {
                        Some(plain) => plain,
                        None => break,
                    },
                };
                part.push(byte);
                keep = part.len();
            }
            b',' | b';' => finish(&mut part, &mut keep),
            b' ' if part.is_empty() || (part.last() == Some(&b'=') && keep < part.len() && !part[..part.len() - 1].contains(&b'=')) => {}
            b'=' if !part.contains(&b'=') => {
                while part.len() > keep && part.last() == Some(&b' ') {
                    part.pop();
                }
                part.push(b'=');
            }
            other => part.push(other),
        }
    }
    if !part.is_empty() || !dn.trim().is_empty() {
        finish(&mut part, &mut keep);
    }
    out
}

fn written(part: &[u8]) -> String {
    String::from_utf8_lossy(part).to_lowercase().replace('\\', "\\5c").replace(',', "\\2c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_written_in_many_ways() {
        for other in ["CN=Doe\\, John , OU = People,dc=X", "cn=doe\\2C john,ou=people,dc=x", "cn=Doe\\, John;OU=people; DC=x"] {
            assert_eq!(normal(other), "cn=doe\\2c john,ou=people,dc=x", "{other}");
        }
        assert_ne!(normal("cn=a\\,ou=b,dc=x"), normal("cn=a,ou=b,dc=x"));
        assert_ne!(normal("cn=a\\\\,ou=b"), normal("cn=a\\,ou=b"));
        assert_eq!(normal("cn=M\\C3\\BCller"), normal("CN=Müller"));
        assert_eq!(normal("cn=a\\ ,dc=x"), "cn=a ,dc=x");
        assert_eq!(normal(""), "");
        assert_eq!(normal("cn=a\\"), "cn=a");
    }

    #[test]
    fn what_lies_where() {
        assert!(within("cn=a,ou=b,dc=x", "ou=b,dc=x") && within("dc=x", "dc=x") && within("dc=x", ""));
        assert!(!within("cn=a,dc=yx", "dc=x") && !within("ou=bb,dc=x", "b,dc=x"));
    }
}
