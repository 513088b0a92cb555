//! Stored passwords: bcrypt as existing installations have it, argon2id for every new one, told apart by the text itself.
//!
//! Every function here is pure and slow on purpose (tens of milliseconds): callers run it on a thread that may block. A login for a user that
//! does not exist calls [`waste`], so that its time does not tell who exists.

mod memory;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{
        PasswordHasher,
        phc::{Output, PasswordHash},
    },
};

use base::{Result, err};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Longer passwords are refused before any hashing: the work must not depend on what a stranger sends.
pub const MAX_LEN: usize = 256;

/// Work of one argon2id hash. The default is OWASP's first recommendation: 19 MiB, two passes, one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub memory_kib: u32,
    pub passes: u32,
}

impl Default for Cost {
    fn default() -> Cost {
        Cost { memory_kib: 19 * 1024, passes: 2 }
    }
}

impl Cost {
    fn argon2(self) -> Result<Argon2<'static>> {
        let params = Params::new(self.memory_kib, self.passes, 1, None)
            .map_err(|e| err!(Internal, "the password hash cost cannot be used: {}", e))?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

/// A stored hash, by its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// `$2a$`, `$2b$` or `$2y$`.
    Bcrypt(String),
    /// `$argon2id$`, the PHC form.
    Argon2(String),
}

/// What comparing gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Wrong,
    Right,
    /// Right, but the hash is of an older kind or cost: store a new one now that the password is at hand.
    RightButOld,
}

impl Outcome {
    pub fn is_right(self) -> bool {
        self != Outcome::Wrong
    }
}

impl Stored {
    /// `None` for a text that is neither: then nobody can log in with it.
    pub fn parse(text: &str) -> Option<Stored> {
        if text.starts_with("$argon2id$") {
            Some(Stored::Argon2(text.to_string()))
        } else if ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|p| text.starts_with(p)) {
            Some(Stored::Bcrypt(text.to_string()))
        } else {
            None
        }
    }

    /// Compares a password. A damaged hash compares as wrong.
    pub fn verify(&self, password: &str, cost: Cost) -> Outcome {
        if password.len() > MAX_LEN {
            return Outcome::Wrong;
        }
        match self {
            Stored::Bcrypt(text) => match bcrypt::verify(password, text) {
                Ok(true) => Outcome::RightButOld,
                _ => Outcome::Wrong,
            },
            Stored::Argon2(text) => {
                let Ok(hash) = PasswordHash::new(text) else { return Outcome::Wrong };
                let Some(params) = same(password, &hash) else { return Outcome::Wrong };
                let enough = params.m_cost() >= cost.memory_kib && params.t_cost() >= cost.passes;
                if enough { Outcome::Right } else { Outcome::RightButOld }
            }
        }
    }
}

/// The parameters of a stored hash, when it is that of the password.
fn same(password: &str, hash: &PasswordHash) -> Option<Params> {
    let (salt, known) = (hash.salt?, hash.hash?);
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
    let params = Params::try_from(hash).ok()?;
    let argon2 = Argon2::new(Algorithm::try_from(hash.algorithm.as_str()).ok()?, version, params.clone());
    let mut buffer = [0; Output::MAX_LENGTH];
    let out = buffer.get_mut(..known.len())?;
    memory::lend(params.block_count(), |blocks| argon2.hash_password_into_with_memory(password.as_bytes(), &salt, out, blocks)).ok()?;
    // Compares in a time that does not tell where they differ.
    (Output::new(out).ok()? == known).then_some(params)
}

/// Hashes a new password, to be stored as it is.
pub fn hash(password: &str, cost: Cost) -> Result<String> {
    if password.len() > MAX_LEN {
        return Err(err!(WeakPassword, "the password is longer than {} bytes", MAX_LEN));
    }
    let hash = cost.argon2()?.hash_password(password.as_bytes()).map_err(base::Error::internal)?;
    Ok(hash.to_string())
}

/// The same work as comparing with a stored password, for a user who does not exist. What was compared with, for whoever counts.
pub fn waste(password: &str, cost: Cost) -> Option<Stored> {
    static NOBODY: Mutex<Option<(Cost, Stored)>> = Mutex::new(None);
    let known = NOBODY.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|(c, _)| *c == cost);
    let nobody = match known {
        Some((_, nobody)) => nobody,
        None => {
            let nobody = Stored::Argon2(hash("nobody has this password", cost).ok()?);
            *NOBODY.lock().unwrap_or_else(PoisonError::into_inner) = Some((cost, nobody.clone()));
            nobody
        }
    };
    std::hint::black_box(nobody.verify(password, cost));
    Some(nobody)
}

/// The same work as comparing with a hash of the old kind, at the cost existing installations have.
pub fn waste_old(password: &str) -> Option<Stored> {
    static NOBODY: LazyLock<Option<Stored>> = LazyLock::new(|| bcrypt::hash("nobody has this password", OLD_COST).ok().map(Stored::Bcrypt));
    let nobody = NOBODY.as_ref()?;
    std::hint::black_box(nobody.verify(password, Cost::default()));
    Some(nobody.clone())
}

/// Cost of bcrypt in existing installations (spec 02 §3).
const OLD_COST: u32 = 10;

/// What a new password must be (spec 02 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Shortest length in characters.
    pub min_length: usize,
    /// How many of upper case, lower case, digit and symbol must be there, 0 to 4.
    pub classes: usize,
    /// Whether passwords everybody tries first are refused.
    pub refuse_common: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { min_length: 6, classes: 0, refuse_common: true }
    }
}

impl Rules {
    /// Checks a new password of a user.
    pub fn check(&self, password: &str, user: &str) -> Result<()> {
        if password.len() > MAX_LEN {
            return Err(err!(WeakPassword, "the password is longer than {} bytes", MAX_LEN));
        }
        let length = password.chars().count();
        if length < self.min_length {
            return Err(err!(WeakPassword, "the password has {} characters; it needs at least {}", length, self.min_length));
        }
        let has = |class: fn(char) -> bool| usize::from(password.chars().any(class));
        let classes = has(char::is_uppercase) + has(char::is_lowercase) + has(|c| c.is_numeric()) + has(|c| !c.is_alphanumeric());
        if classes < self.classes.min(4) {
            return Err(err!(
                WeakPassword,
                "the password has {} of the four kinds upper case, lower case, digit and symbol; it needs {}",
                classes,
                self.classes.min(4)
            ));
        }
        if self.refuse_common {
            let lower = password.to_lowercase();
            if COMMON.contains(&lower.as_str()) || (!user.is_empty() && lower == user.to_lowercase()) {
                return Err(err!(WeakPassword, "the password is among those that are tried first; choose another"));
            }
        }
        Ok(())
    }
}

/// What the public lists of broken passwords agree on, and this platform's own documented examples.
const COMMON: &[&str] = &[
    "000000",
    "00000000",
    "111111",
    "11111111",
    "112233",
    "121212",
    "123123",
    "123123123",
    "123321",
    "1234",
    "12345",
    "123456",
    "1234567",
    "12345678",
    "123456789",
    "1234567890",
    "123qwe",
    "1q2w3e",
    "1q2w3e4r",
    "1q2w3e4r5t",
    "1qaz2wsx",
    "654321",
    "666666",
    "696969",
    "777777",
    "88888888",
    "888888",
    "987654321",
    "999999",
    "a123456",
    "abc123",
    "abcd1234",
    "abcdef",
    "access",
    "admin",
    "admin123",
    "admin@123",
    "administrator",
    "asdfgh",
    "asdfghjkl",
    "baseball",
    "batman",
    "changeme",
    "charlie",
    "cloud",
    "dragon",
    "football",
    "freedom",
    "hello",
    "iloveyou",
    "letmein",
    "login",
    "master",
    "michael",
    "monkey",
    "mustang",
    "p@ssw0rd",
    "p@ssword",
    "pass",
    "pass123",
    "passw0rd",
    "password",
    "password1",
    "password123",
    "princess",
    "qazwsx",
    "qwe123",
    "qwer1234",
    "qwerty",
    "qwerty123",
    "qwertyuiop",
    "root",
    "root123",
    "secret",
    "shadow",
    "solo",
    "starwars",
    "sunshine",
    "superman",
    "sysadmin",
    "test",
    "test123",
    "trustno1",
    "user",
    "welcome",
    "welcome1",
    "woaini",
    "zaq12wsx",
    "zxcvbn",
    "zxcvbnm",
];

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 64, passes: 1 };

    #[test]
    fn both_kinds_compare() {
        let old = Stored::parse(&bcrypt::hash("S3cret!", 4).unwrap()).unwrap();
        assert_eq!(old.verify("S3cret!", CHEAP), Outcome::RightButOld);
        assert_eq!(old.verify("s3cret!", CHEAP), Outcome::Wrong);
        // A hash another implementation made: bcrypt of "U*U" from the reference test vectors.
        let known = Stored::parse("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW").unwrap();
        assert!(known.verify("U*U", CHEAP).is_right());

        let new = Stored::parse(&hash("S3cret!", CHEAP).unwrap()).unwrap();
        assert!(matches!(new, Stored::Argon2(_)));
        assert_eq!(new.verify("S3cret!", CHEAP), Outcome::Right);
        assert_eq!(new.verify("S3cret!", Cost { passes: 2, ..CHEAP }), Outcome::RightButOld);
        assert_eq!(new.verify("", CHEAP), Outcome::Wrong);
        assert_ne!(hash("S3cret!", CHEAP).unwrap(), hash("S3cret!", CHEAP).unwrap(), "salted");
        assert!(hash("x", Cost::default()).unwrap().contains("m=19456,t=2,p=1"));
    }

    #[test]
    fn damaged_hashes_and_huge_passwords_are_wrong() {
        for text in ["", "plain", "$1$abc", "$argon2i$v=19$m=64"] {
            assert_eq!(Stored::parse(text), None, "{text}");
        }
        for text in [
            "$argon2id$",
            "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ",
            "$2b$10$short",
            "$2b$99$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        ] {
            assert_eq!(Stored::parse(text).unwrap().verify("x", CHEAP), Outcome::Wrong, "{text}");
        }
        let long = "a".repeat(MAX_LEN + 1);
        assert!(hash(&long, CHEAP).is_err());
        assert_eq!(Stored::Argon2(hash("a", CHEAP).unwrap()).verify(&long, CHEAP), Outcome::Wrong);
    }

    #[test]
    fn an_unknown_user_costs_as_much_as_a_known_one() {
        let stored = Stored::Argon2(hash("right", Cost::default()).unwrap());
        waste("warm up", Cost::default());
        let time = |f: &dyn Fn()| {
            (0..5)
                .map(|_| {
                    let t = std::time::Instant::now();
                    f();
                    t.elapsed()
                })
                .min()
                .unwrap()
                .as_secs_f64()
        };
        let (known, unknown) = (
            time(&|| assert!(!stored.verify("wrong", Cost::default()).is_right())),
            time(&|| assert!(waste("wrong", Cost::default()).is_some())),
        );
        // Ten, because the machine may be busy; without the work it would be a million.
        assert!(unknown > known / 10.0 && unknown < known * 10.0, "{known} {unknown}");
    }

    #[test]
    fn rules_for_new_passwords() {
        let check = |rules: &Rules, password: &str, ok: bool| assert_eq!(rules.check(password, "alice").is_ok(), ok, "{password}");
        let plain = Rules::default();
        check(&plain, "short", false);
        check(&plain, "lengthy", true);
        check(&plain, "密码密码密码", true);
        check(&plain, "PassWord", false);
        check(&plain, "ALICE", false);
        check(&Rules { refuse_common: false, ..plain.clone() }, "password", true);
        let strict = Rules { min_length: 8, classes: 4, refuse_common: true };
        check(&strict, "Abcdef1!", true);
        check(&strict, "abcdef1!", false);
        check(&strict, "Abcdefgh", false);
        assert_eq!(strict.check("x", "").unwrap_err().class(), base::Class::WeakPassword);
    }
}
