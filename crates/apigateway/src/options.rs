//! What an operator may set for the gateway.

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// What the sections of the services say of their recycle bins, for consoles.
    #[serde(skip)]
    pub bins: Bins,
    /// Whether users with `enable_mfa` must set up and show a one-time password. Whoever has one set up is always asked for it.
    pub enable_totp: bool,
    /// Name of the platform in pages, in generator apps and in exported files.
    pub product_name: String,
    /// A picture for pages, as a file; the built-in one when empty. SVG, PNG, JPEG or WebP.
    pub logo: std::path::PathBuf,
    /// Main colour of pages, as `#2468ac`.
    pub colour: String,
    /// Who stands behind the platform, shown on the login page and with the licence.
    pub company: String,
    /// Whether the login page lists all domains.
    pub return_full_domain_list: bool,
    /// Whether the session cookies end with the browser.
    pub session_level_auth_cookie: bool,
    /// Domain of the cookies; the host that was asked when empty.
    pub cookie_domain: String,
    /// Puts the session itself into the readable cookie `yunionauth`, for consoles that take it from there. A script injected into such a page
    /// owns the session.
    pub readable_session: bool,
    /// Where identity providers send browsers back to, as registered there; `<address>/api/v1/auth/ssologin` when empty.
    pub sso_redirect_url: String,
    /// Pages that a login at an identity provider ends at, linking a user to one, and a login of somebody nobody knows; `<address>/auth`,
    /// `<address>/profile` and the first again when empty.
    pub sso_auth_callback_url: String,
    pub sso_link_callback_url: String,
    pub sso_user_not_found_callback_url: String,
    /// Parameter of a login page that says where the user wanted to go.
    pub login_callback_param: String,
    /// A session that nothing was asked with for so long is over, seconds; 0 for never.
    pub session_idle_seconds: i64,
    /// Sessions of one user; the one unused for longest gives way.
    pub sessions_per_user: u64,
    /// Failed logins from one address per second that are looked at, in the long run and at once.
    pub login_failures_per_second: f64,
    pub login_failures_at_once: f64,
    /// When a picture must be read to log in: `never`, `after_failures` or `always`.
    pub captcha: crate::Captcha,
    /// Failed logins from one address within a quarter of an hour before `after_failures` asks for one.
    pub captcha_failures: u32,
    /// Whether `/api/s/…` hands requests on to services.
    pub enable_backend_service_proxy: bool,
    pub enable_organization: bool,
    pub enable_quota_check: bool,
    pub enable_watermark: bool,
    pub non_default_domain_projects: bool,
    /// Seconds after which a console logs out an idle user; 0 for never.
    pub no_action_logout_seconds: i64,
    /// Public keys that licences may be signed with besides the built-in ones, base64 of 32 bytes.
    pub licence_signers: Vec<String>,
    /// Open streams of live changes, at most.
    pub live_streams: usize,
    /// Those of one user.
    pub live_streams_per_user: usize,
    /// Seconds between two signs of life of such a stream, at each of which its session is looked at again.
    pub live_beat_seconds: u64,
}

/// Whether what is deleted lies in a recycle bin first.
#[derive(Clone, Copy, Debug)]
pub struct Bins {
    pub compute: bool,
    pub image: bool,
}

impl Default for Bins {
    fn default() -> Bins {
        Bins { compute: true, image: true }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            bins: Bins::default(),
            enable_totp: false,
            product_name: "Wolke".into(),
            logo: std::path::PathBuf::new(),
            colour: "#2f6feb".into(),
            company: String::new(),
            return_full_domain_list: true,
            session_level_auth_cookie: false,
            cookie_domain: String::new(),
            readable_session: false,
            sso_redirect_url: String::new(),
            sso_auth_callback_url: String::new(),
            sso_link_callback_url: String::new(),
            sso_user_not_found_callback_url: String::new(),
            login_callback_param: "rf".into(),
            session_idle_seconds: 8 * 3600,
            sessions_per_user: 20,
            login_failures_per_second: 1.0,
            login_failures_at_once: 30.0,
            captcha: crate::Captcha::Never,
            captcha_failures: 5,
            enable_backend_service_proxy: true,
            enable_organization: false,
            enable_quota_check: false,
            enable_watermark: false,
            non_default_domain_projects: false,
            no_action_logout_seconds: 0,
            licence_signers: Vec::new(),
            live_streams: 4096,
            live_streams_per_user: 1024,
            live_beat_seconds: 20,
        }
    }
}
