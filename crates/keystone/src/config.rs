//! What an operator may set (spec 02 §13).

use crate::grants::Limits;
use api_identity::Secret;
use auth::password::{Cost, Rules};
use base::Scope;
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The one region of the catalogue.
    pub region: String,
    /// Key that secrets in the database are sealed with: 64 hex digits. Losing it loses all credentials and voids all tokens.
    pub secret_key: Secret,
    /// Password of the administrator `sysadmin` at first start; one is made up and told once when it is empty.
    pub bootstrap_admin_user_password: Secret,
    /// Sets that password again at every start.
    pub reset_admin_user_password: bool,
    /// A first administrator for the web console, with the role `admin` in the project `system`; none when empty.
    pub bootstrap_console_user: String,
    /// Its password at first start.
    pub bootstrap_console_password: Secret,
    /// What the catalogue lists.
    pub services: Vec<ServiceEntry>,

    /// Life of a token, seconds.
    pub token_expiration_seconds: i64,
    /// How long a key signs new tokens, seconds.
    pub token_key_rotation_seconds: i64,

    /// Fewest characters of a new password.
    pub password_minimal_length: usize,
    /// How many of upper case, lower case, digit and symbol a new password needs.
    pub password_char_complexity: usize,
    /// Earlier passwords that cannot be chosen again.
    pub password_unique_history_check: usize,
    /// Life of a password, seconds; 0 for ever.
    pub password_expiration_seconds: i64,
    /// Wrong passwords after which a user is locked; 0 for never.
    pub password_error_lock_count: i64,
    /// Failed logins of one user from one address after which that address waits; 0 for never.
    pub login_attempts: i64,
    /// Failed logins from one address, whoever the users, after which it waits; 0 for never.
    pub login_attempts_of_address: i64,
    /// How long it waits, and how long failures are remembered, seconds.
    pub login_lock_seconds: i64,
    /// Failed logins from one address per second that are looked at, in the long run and at once; 0 for any number.
    pub login_failures_per_second: f64,
    pub login_failures_at_once: f64,
    /// Name of the platform in the apps that make one-time passwords.
    pub second_factor_issuer: String,
    /// Memory and passes of a password's hash; turned down in tests only.
    pub password_hash_memory_kib: u32,
    pub password_hash_passes: u32,

    /// Most roles of one user in one project.
    pub max_user_roles_in_project: usize,
    /// Most roles of one group in one project.
    pub max_group_roles_in_project: usize,
    /// The role that answers for a project.
    pub project_admin_role: String,
    pub default_user_language: String,
    /// Networks whose word counts for where a login comes from: those of the web console's gateway. For anybody else it is the connection's address;
    /// otherwise whoever asks could choose the address that policies look at.
    pub trusted_gateways: Vec<ipnet::IpNet>,
    /// Most users, groups, projects, roles and policies of a domain, each, where no quota is set; -1 for any number.
    pub default_quota: i64,
    /// Lets identity providers be asked over plain HTTP on this machine itself; https everywhere else, always.
    pub sso_http_on_loopback: bool,
    /// The program that judges SAML responses; `wolke-saml` beside this program, or among all programs, when empty.
    pub saml_program: String,
    /// Days that records of changes and logins are kept; 0 for ever.
    pub event_retention_days: i64,
    /// Splits the administrator of the platform into those of operations, security and audit; nobody is two of them, and nobody works as the one.
    pub three_administrators: bool,
    /// Lets people hand out more than they hold themselves.
    pub no_policy_violation_check: bool,

    /// Rules that other services of this process give every authenticated caller: scope and document.
    #[serde(skip)]
    pub own_rules: Vec<(Scope, auth::Policy)>,
}

/// A service of the catalogue.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceEntry {
    /// Its name, such as `region2`.
    pub name: String,
    /// What clients look for, such as `compute_v2`.
    pub r#type: String,
    /// Where clients reach it; no endpoint when empty.
    pub public_url: String,
    /// Where services reach it; the public one when empty.
    pub internal_url: String,
    /// Where administrators reach it; no endpoint when empty.
    pub admin_url: String,
    /// The account it works with; none when empty.
    pub account: String,
    pub account_password: Secret,
}

impl Default for Config {
    fn default() -> Config {
        let cost = Cost::default();
        Config {
            region: "region0".into(),
            secret_key: Secret::default(),
            bootstrap_admin_user_password: Secret::default(),
            reset_admin_user_password: false,
            bootstrap_console_user: String::new(),
            bootstrap_console_password: Secret::default(),
            services: Vec::new(),
            token_expiration_seconds: 86_400,
            token_key_rotation_seconds: 30 * 86_400,
            password_minimal_length: 6,
            password_char_complexity: 0,
            password_unique_history_check: 0,
            password_expiration_seconds: 0,
            password_error_lock_count: 0,
            login_attempts: 10,
            login_attempts_of_address: 100,
            login_lock_seconds: 900,
            login_failures_per_second: 5.0,
            login_failures_at_once: 50.0,
            second_factor_issuer: "Wolke".into(),
            password_hash_memory_kib: cost.memory_kib,
            password_hash_passes: cost.passes,
            max_user_roles_in_project: 5,
            max_group_roles_in_project: 3,
            project_admin_role: "project_owner".into(),
            default_user_language: "zh-CN".into(),
            trusted_gateways: ["127.0.0.0/8", "::1/128"].iter().filter_map(|net| net.parse().ok()).collect(),
            default_quota: 500,
            sso_http_on_loopback: false,
            saml_program: String::new(),
            event_retention_days: 180,
            three_administrators: false,
            no_policy_violation_check: false,
            own_rules: Vec::new(),
        }
    }
}

impl Config {
    pub fn limits(&self) -> Limits {
        Limits { user: self.max_user_roles_in_project, group: self.max_group_roles_in_project, apart: self.three_administrators }
    }

    pub fn password_cost(&self) -> Cost {
        Cost { memory_kib: self.password_hash_memory_kib, passes: self.password_hash_passes }
    }

    pub fn password_rules(&self) -> Rules {
        Rules { min_length: self.password_minimal_length, classes: self.password_char_complexity, ..Rules::default() }
    }
}
