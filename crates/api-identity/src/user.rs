//! The user (spec 02 §3, §4).

use base::meta::{DomainOwned, Enabled, Standalone};
use base::{Json, Resource, Timestamp};

/// A person, or an account of a service.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "user", plural = "users", service = "identity", level = domain)]
pub struct User {
    #[field(flatten)]
    pub meta: Standalone,
    #[field(flatten)]
    pub owned: DomainOwned,
    #[field(flatten)]
    pub enabled: Enabled,
    /// Name for people.
    #[field(create, update, search)]
    pub displayname: String,
    /// Mail address.
    #[field(create, update, search, filter)]
    pub email: String,
    /// Mobile number, with the country's prefix.
    #[field(create, update, search, filter)]
    pub mobile: String,
    /// Language of messages to the user, such as `en` or `zh-CN`.
    #[field(create, update, default = "zh-CN")]
    pub lang: String,
    /// Whether the account is one of the platform's own; hidden from ordinary lists.
    #[field(create, update)]
    pub is_system_account: bool,
    /// Whether the user may log in to the web console.
    #[field(create, update, filter, default = "true")]
    pub allow_web_console: bool,
    /// Whether the web console asks for a second factor.
    #[field(create, update, filter)]
    pub enable_mfa: bool,
    /// When the account stops to be usable; never when empty.
    #[field(create, update)]
    pub expired_at: Option<Timestamp>,
    /// Project that OpenStack clients enter when they name none.
    #[field(create, update)]
    pub default_project_id: String,
    /// When the user last logged in.
    pub last_active_at: Option<Timestamp>,
    /// Address of the last login.
    pub last_login_ip: String,
    /// Door of the last login: `web`, `api`, `cli`, `srv` or `operator`.
    pub last_login_source: String,
    /// Hash of the password in PHC text form; empty when the user has none here.
    #[field(hidden)]
    pub password_hash: String,
    /// Hashes of earlier passwords, newest first.
    #[field(hidden)]
    pub password_history: Json,
    /// When the password was set.
    #[field(hidden)]
    pub password_changed_at: Option<Timestamp>,
    /// When the password runs out; the user can still log in and is asked for a new one.
    #[field(hidden)]
    pub password_expires_at: Option<Timestamp>,
    /// Whether the user must choose a new password.
    #[field(hidden)]
    pub need_reset_password: bool,
    /// Why: `expire` or `admin_reset`.
    #[field(hidden)]
    pub password_reset_hint: String,
    /// Wrong passwords since the last right one.
    #[field(hidden)]
    pub failed_auth_count: i64,
    /// When the last wrong one was given.
    #[field(hidden)]
    pub failed_auth_at: Option<Timestamp>,
}

/// The name of the administrator every platform begins with.
pub const SYSADMIN: &str = "sysadmin";
