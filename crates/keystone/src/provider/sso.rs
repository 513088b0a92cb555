//! Single sign-on: what a driver must be able to do, and the way from its answer to a login. One file or folder for each driver beside this
//! one; a new driver is a line of [`DRIVERS`]. Called by token requests (`login::who`), by the resource (`kinds::identity_provider`) and by the
//! pages of the login door.

use super::external::{self, External};
use super::mapping::Mapping;
use crate::{login::Proved, state::State};
use api_identity::Identity;
use base::{Json, Result, Row, err};
use resource::{BoxFuture, Map};

/// A kind of authority that people log in at themselves.
pub trait Driver: Send + Sync {
    /// Its word: the driver of a provider and the method of a token request.
    fn name(&self) -> &'static str;

    /// Its templates.
    fn templates(&self) -> &'static [&'static str];

    /// Keys a template presets, of the driver and of the mapping.
    fn presets(&self, template: &str) -> Json;

    /// Looks over the driver's own keys, presets applied and those of the mapping taken out; says which one is wrong. Asks nobody.
    fn check(&self, state: &State, template: &str, keys: &Map) -> Result<()>;

    /// Asks the authority whether it is there, before a configuration is kept.
    fn probe<'a>(&'a self, state: &'a State, template: &'a str, keys: &'a Map) -> BoxFuture<'a, Result<()>>;

    /// The address that a browser is sent to.
    fn begin<'a>(&'a self, state: &'a State, provider: &'a Provider, wish: &'a Begin) -> BoxFuture<'a, Result<String>>;

    /// Verifies what the browser brought back.
    fn prove<'a>(&'a self, state: &'a State, provider: &'a Provider, identity: &'a Identity) -> BoxFuture<'a, Result<External>>;
}

/// A provider with its configuration opened.
pub struct Provider {
    pub row: Row,
    /// Keys of the driver.
    pub keys: Map,
    pub mapping: Mapping,
}

/// How a login begins.
#[derive(Clone, Debug, Default)]
pub struct Begin {
    /// Where the authority sends the browser afterwards.
    pub redirect_uri: String,
    /// What it is to bring back, word for word; a new one is made when it is empty.
    pub state: String,
    /// Whether the state is sent along with what the browser brings, although its maker is somebody else.
    pub bound: bool,
}

/// The drivers there are.
static DRIVERS: [&dyn Driver; 4] = [&super::oidc::OpenId, &super::oauth2::OAuth2, &super::cas::Cas, &super::saml::SamlProvider];

pub fn driver(name: &str) -> Option<&'static dyn Driver> {
    DRIVERS.iter().find(|d| d.name() == name).copied()
}

/// The driver a template belongs to.
pub fn driver_of_template(template: &str) -> Option<&'static dyn Driver> {
    DRIVERS.iter().find(|d| d.templates().contains(&template)).copied()
}

/// Every driver, and every template.
pub fn words() -> (Vec<&'static str>, Vec<&'static str>) {
    (DRIVERS.iter().map(|d| d.name()).collect(), DRIVERS.iter().flat_map(|d| d.templates()).copied().collect())
}

/// Presets, then what is stored; the mapping apart from the driver's keys, both looked over.
pub fn read(state: &State, driver: &dyn Driver, template: &str, stored: &Map) -> Result<(Map, Mapping)> {
    let mut all = match driver.presets(template) {
        Json::Object(map) => map,
        _ => Map::new(),
    };
    all.extend(stored.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())));
    let mapping = Mapping::take(&mut all)?;
    driver.check(state, template, &all)?;
    Ok((all, mapping))
}

/// A row with its configuration.
pub fn open(state: &State, row: Row) -> Result<(&'static dyn Driver, Provider)> {
    let driver = driver(row.text("driver"))
        .ok_or_else(|| err!(UnsupportedOperation, "the identity provider {} has no login page of its own", row.name()))?;
    let (keys, mapping) = read(state, driver, row.text("template"), &super::login::stored(state, &row)?)?;
    Ok((driver, Provider { row, keys, mapping }))
}

/// A login by what an authority gave the browser (spec 02 §2.1): methods `oidc`, `oauth2`, `cas`, `saml`.
pub async fn prove(state: &State, method: &'static str, identity: &Identity) -> Result<Proved> {
    let row = external::usable(state, &identity.id, method).await?;
    let (driver, provider) = open(state, row)?;
    let said = driver.prove(state, &provider, identity).await?;
    external::admit(state, &provider.row, &provider.mapping, driver.name(), &said).await
}
