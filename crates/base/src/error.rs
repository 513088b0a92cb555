//! The domain error: a closed set of classes, a message for the user and a context for the log.
//!
//! A message is an English template with `{}` places and its arguments. The template is the key of the translation, so the wire's
//! `data: {id, fields}` (spec 01 §8.1) falls out of it and no sentence is put together in code.

use crate::{BadValue, Lang, Said};
use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! classes {
    ($($name:ident = $http:literal $wire:literal),* $(,)?) => {
        /// The classes clients know, each with its HTTP status (spec 01 §8.2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Class { $($name),* }

        impl Class {
            pub const ALL: &'static [Class] = &[$(Class::$name),*];
            pub fn http(self) -> u16 { match self { $(Class::$name => $http),* } }
            pub fn name(self) -> &'static str { match self { $(Class::$name => $wire),* } }
            pub fn from_name(name: &str) -> Option<Class> { match name { $($wire => Some(Class::$name),)* _ => None } }
        }
    };
}

classes! {
    InputParameter = 400 "InputParameterError",
    MissingParameter = 400 "MissingParameterError",
    WeakPassword = 400 "WeakPasswordError",
    BadRequest = 400 "BadRequestError",
    InvalidStatus = 400 "InvalidStatusError",
    InvalidFormat = 400 "InvalidFormatError",
    InvalidIdpStatus = 400 "InvalidIdpStatus",
    InsufficientResource = 400 "InsufficientResourceError",
    OutOfQuota = 400 "OutOfQuotaError",
    OutOfRange = 400 "OutOfRange",
    OutOfLimit = 400 "OutOfLimit",
    Unauthorized = 401 "UnauthorizedError",
    InvalidCredential = 401 "InvalidCredentialError",
    WrongPassword = 401 "WrongPassword",
    SecondFactorRequired = 401 "SecondFactorRequired",
    RequireLicense = 402 "RequireLicenseError",
    Forbidden = 403 "ForbiddenError",
    NotSufficientPrivilege = 403 "NotSufficientPrivilegeError",
    ProtectedResource = 403 "ProtectedResourceError",
    NotFound = 404 "NotFoundError",
    ResourceNotFound = 404 "ResourceNotFoundError",
    ImageNotFound = 404 "ImageNotFoundError",
    SpecNotFound = 404 "SpecNotFoundError",
    ActionNotFound = 404 "ActionNotFoundError",
    UserNotFound = 404 "UserNotFound",
    UnsupportedOperation = 406 "UnsupportOperationError",
    NotEmpty = 406 "NotEmptyError",
    NotAcceptable = 406 "NotAcceptableError",
    Conflict = 409 "ConflictError",
    DuplicateName = 409 "DuplicateNameError",
    DuplicateResource = 409 "DuplicateResourceError",
    DuplicateId = 409 "DuplicateIdError",
    ResourceBusy = 409 "ResourceBusyError",
    TooLargeEntity = 413 "TooLargeEntity",
    UserLocked = 423 "UserLocked",
    UserDisabled = 423 "UserDisabled",
    TooManyFailedAttempts = 429 "TooManyFailedAttempts",
    TooManyRequests = 429 "TooManyRequests",
    ServiceAbnormal = 499 "ServiceAbnormal",
    Internal = 500 "InternalServerError",
    NotImplemented = 501 "NotImplementedError",
    BadGateway = 502 "BadGateway",
    Timeout = 504 "TimeoutError",
    OutOfResource = 507 "OutOfResource",
}

/// An error on its way to the user. `Display` is the user's message; [`Error::context`] is for the log only.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    class: Class,
    template: String,
    args: Vec<String>,
    context: Option<String>,
    /// The last argument as the sentence it is.
    reason: Option<Said>,
}

impl Error {
    /// `template` has one `{}` per argument. Prefer [`crate::err!`].
    pub fn new(class: Class, template: &str, args: Vec<String>) -> Error {
        Error(Box::new(Inner { class, template: template.to_string(), args, context: None, reason: None }))
    }

    /// Something that is our fault or the machine's. The cause goes to the log, not to the user.
    pub fn internal(cause: impl fmt::Display) -> Error {
        Error::new(Class::Internal, "internal error; the log of the service has the cause under this request id", Vec::new())
            .with_context(cause)
    }

    pub fn bad_value(field: &str, bad: &BadValue) -> Error {
        Error::new(Class::InputParameter, "{}: expected {}, got {}", vec![field.to_string(), bad.want.to_string(), bad.got.clone()])
    }

    /// Adds what the log should know: which file, host, query.
    #[must_use]
    pub fn with_context(mut self, context: impl fmt::Display) -> Error {
        self.0.context = Some(match self.0.context.take() {
            Some(inner) => format!("{context}: {inner}"),
            None => context.to_string(),
        });
        self
    }

    pub fn class(&self) -> Class {
        self.0.class
    }
    pub fn template(&self) -> &str {
        &self.0.template
    }
    pub fn args(&self) -> &[String] {
        &self.0.args
    }
    pub fn context(&self) -> Option<&str> {
        self.0.context.as_deref()
    }

    /// Whether the same request may succeed later without a change.
    pub fn retryable(&self) -> bool {
        matches!(self.class(), Class::ServiceAbnormal | Class::Timeout | Class::BadGateway | Class::ResourceBusy | Class::TooManyRequests)
    }

    /// The message in a language; `translate` maps an English template to that language's.
    pub fn message(&self, lang: Lang, translate: impl Fn(Lang, &str) -> Option<&'static str>) -> String {
        let template = translate(lang, &self.0.template).unwrap_or(&self.0.template);
        match (&self.0.reason, self.0.args.split_last()) {
            (Some(reason), Some((_, args))) => {
                let args: Vec<String> = args.iter().cloned().chain([reason.say(lang, &translate)]).collect();
                fill(template, &args)
            }
            _ => fill(template, &self.0.args),
        }
    }

    /// With its last argument as a sentence that can still be translated.
    pub fn because(mut self, reason: Said) -> Error {
        self.0.reason = Some(reason);
        self
    }
    pub fn reason(&self) -> Option<&Said> {
        self.0.reason.as_ref()
    }
}

/// Puts the arguments into the places: `{}` takes the next one, `{1}` the second whatever came before, for languages with another order.
pub(crate) fn fill(template: &str, args: &[String]) -> String {
    let mut out = String::with_capacity(template.len() + 16);
    let mut next = 0;
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        let inner = rest[at + 1..].find('}').map(|end| &rest[at + 1..at + 1 + end]);
        let index = match inner {
            Some("") => {
                next += 1;
                Some(next - 1)
            }
            Some(digits) => digits.parse::<usize>().ok(),
            None => None,
        };
        match (inner, index) {
            (Some(inner), Some(index)) => {
                out.push_str(args.get(index).map_or("", String::as_str));
                rest = &rest[at + inner.len() + 2..];
            }
            _ => {
                out.push('{');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&fill(&self.0.template, &self.0.args))
    }
}

impl std::error::Error for Error {}

/// Makes an [`Error`]: `err!(InputParameter, "network {} has no free address", name)`.
#[macro_export]
macro_rules! err {
    ($class:ident, $template:literal $(, $arg:expr)* $(,)?) => {
        $crate::Error::new($crate::Class::$class, $template, vec![$($arg.to_string()),*])
    };
}

/// Returns early with an [`Error`].
#[macro_export]
macro_rules! bail {
    ($($t:tt)*) => { return Err($crate::err!($($t)*)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_and_translation() {
        let e = err!(InputParameter, "network {} has no free address in {}", "vnet0", "10.0.0.0/24");
        assert_eq!(e.to_string(), "network vnet0 has no free address in 10.0.0.0/24");
        assert_eq!(e.message(Lang::Zh, |_, _| Some("网络 {} 在 {} 中没有空闲地址")), "网络 vnet0 在 10.0.0.0/24 中没有空闲地址");
        assert_eq!(e.message(Lang::Zh, |_, _| Some("{1} 里的 {0}")), "10.0.0.0/24 里的 vnet0");
        assert_eq!(fill("{a} {} {", &["x".into()]), "{a} x {");
        assert_eq!(e.class().http(), 400);
        assert!(Error::internal("disk on fire").to_string().find("fire").is_none(), "a cause never reaches the user");
    }
}
