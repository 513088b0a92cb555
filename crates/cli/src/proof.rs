//! How one gets a token: what is sent to `POST /v3/auth/tokens`.

use crate::{
    fail::{Fail, Result},
    profile::{AccessKey, Credential, Profile},
};
use api_identity::{
    ApplicationCredentialMethod, Auth, AuthContext, AuthRequest, Identity, PasswordMethod, PasswordUser, ScopeProject, ScopeWish, Secret,
    TokenMethod, TotpMethod, TotpUser, Which,
};
use auth::sigv4;
use base::Timestamp;
use serde_json::json;

/// Region label of the signature; every client of this platform signs with it (spec 02 §2.6).
const LOCATION: &str = "cn-beijing";

pub enum Proof {
    /// With a one-time password or recovery code, or none.
    Password {
        password: String,
        passcode: String,
    },
    Credential(Credential),
    AccessKey(AccessKey),
    /// A token for something else, as for a project after one was chosen.
    Token(String),
}

impl Proof {
    /// For the project of the profile; without one, for none.
    pub fn request(&self, profile: &Profile, now: Timestamp) -> Result<AuthRequest> {
        let domain = if profile.domain.is_empty() { Which::default() } else { Which::named(&profile.domain) };
        let user = PasswordUser { name: profile.user.clone(), domain: domain.clone(), ..PasswordUser::default() };
        let mut identity = Identity::default();
        // An application credential or access key has its own project.
        let mut tied = false;
        match self {
            Proof::Password { password, passcode } => {
                identity.methods = vec!["password".into()];
                let user = PasswordUser { password: Secret::new(password.clone()), ..user };
                identity.password = Some(PasswordMethod { user });
                if !passcode.is_empty() {
                    identity.methods.push("totp".into());
                    let user = TotpUser { passcode: Secret::new(passcode.clone()), ..TotpUser::default() };
                    identity.totp = Some(TotpMethod { user });
                }
            }
            Proof::Credential(credential) => {
                tied = true;
                identity.methods = vec!["application_credential".into()];
                identity.application_credential = Some(ApplicationCredentialMethod {
                    id: credential.id.clone(),
                    name: credential.name.clone(),
                    user: credential.id.is_empty().then_some(user),
                    secret: Secret::new(credential.secret.clone()),
                });
            }
            Proof::AccessKey(key) => {
                tied = true;
                identity.methods = vec!["aksk".into()];
                identity.access_key_secret = Some(signed(key, now)?);
            }
            Proof::Token(token) => {
                identity.methods = vec!["token".into()];
                identity.token = Some(TokenMethod { id: Secret::new(token.clone()) });
            }
        }
        let scope = if tied {
            None
        } else if profile.project.is_empty() {
            Some(ScopeWish::Unscoped)
        } else {
            let domain = if profile.project_domain.is_empty() { domain } else { Which::named(&profile.project_domain) };
            Some(ScopeWish::Project(ScopeProject { name: profile.project.clone(), domain, ..ScopeProject::default() }))
        };
        Ok(AuthRequest { auth: Auth { identity, scope, context: AuthContext { source: "cli".into(), ip: String::new() } } })
    }
}

/// The signed text of an access key (spec 02 §2.6).
fn signed(key: &AccessKey, now: Timestamp) -> Result<String> {
    let iso = now.to_string();
    let seconds = iso.get(..19).ok_or_else(|| Fail::usage("the clock of this machine is of another era"))?;
    let stamp = format!("{}Z", seconds.replace(['-', ':'], ""));
    let day = &stamp[..8];
    let request = format!("{}\n{stamp}\n{day}/{LOCATION}/s3/aws4_request\n{}", sigv4::ALGORITHM, sigv4::sha256(b""));
    let signature = ring::hmac::sign(&sigv4::signing_key(&key.secret, day, LOCATION, "s3"), request.as_bytes());
    Ok(json!({
        "algorithm": sigv4::ALGORITHM,
        "access_key": key.key,
        "location": LOCATION,
        "signed_headers": ["x-amz-date"],
        "sign_date": format!("{seconds}Z"),
        "request": request,
        "signature": hex::encode(signature),
    })
    .to_string())
}
