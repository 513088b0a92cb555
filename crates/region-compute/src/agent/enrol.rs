//! Enrolment: a one-time token becomes a host with a credential.

use super::{Agents, hash, secret};
use api_agent::{Enroll, Enrolled};
use api_compute::Host;
use base::{Kind, Resource, Result, Row, Value, err, meta, new_id};
use store::{Change, ChangeOp, Cond, Name, Read, Select, Tx, work};

impl Agents {
    /// Makes a token good for one host, for so many seconds.
    pub async fn new_token(&self, domain_id: &str, seconds: i64) -> Result<String> {
        let token = secret()?;
        let row = &hash(&token);
        self.db
            .tx(|tx| {
                work(async move {
                    let columns: Vec<(Name, Value)> = vec![
                        ("hash".into(), row.into()),
                        ("domain_id".into(), domain_id.into()),
                        ("expires_at".into(), tx.now().plus_secs(seconds).into()),
                    ];
                    tx.insert_into("host_tokens", columns).await
                })
            })
            .await?;
        Ok(token)
    }

    /// Trades a token for a credential. The token is gone with it, whoever comes second is refused; but for the same agent, which asks again
    /// with the secret it made because it was not answered: it is the host it has become.
    pub async fn enroll(&self, request: Enroll) -> Result<Enrolled> {
        let credential = match request.secret.as_str() {
            "" => secret()?,
            own if own.len() == 64 && own.bytes().all(|b| b.is_ascii_hexdigit()) => own.to_string(),
            _ => return Err(err!(InputParameter, "secret: 64 hex digits, or nothing")),
        };
        let (stored, token) = (&hash(&credential), &hash(&request.token));
        let hostname: String =
            request.hostname.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')).take(100).collect();
        let hostname = if hostname.is_empty() { "host".to_string() } else { hostname };
        let hostname = &hostname;
        let allowed = match &self.allowance {
            Some(allowance) => allowance.in_force().await,
            None => Ok(Vec::new()),
        };
        let allowed = &allowed;
        let host_id = self
            .db
            .tx(|tx| {
                work(async move {
                    let same = Cond::eq("credential", stored.as_str()).and(Cond::eq("deleted", false));
                    if let Some(host) = tx.texts("hosts", "id", same).await?.pop() {
                        return Ok(host);
                    }
                    let select = Select::from("host_tokens")
                        .column("domain_id", Kind::Text)
                        .filter(Cond::eq("hash", token.as_str()).and(Cond::cmp("expires_at", store::Op::Gt, tx.now())));
                    let domain = match tx.rows(&select).await?.pop() {
                        Some(row) if tx.delete("host_tokens", Cond::eq("hash", token.as_str())).await? == 1 => row[0].as_str().to_string(),
                        _ => {
                            return Err(err!(
                                Unauthorized,
                                "the enrolment token is unknown, used or expired; make a new one with wolke host-token create"
                            ));
                        }
                    };
                    // Of a host that is new; one that asks again has been let in above.
                    let bounds = allowed.clone()?;
                    let host = Host {
                        meta: meta::Standalone { id: new_id(), created_at: tx.now(), updated_at: tx.now(), ..Default::default() },
                        status: meta::Status { status: "init".into(), progress: 100 },
                        enabled: meta::Enabled { enabled: true },
                        domain: meta::DomainOwned { domain_id: domain, domain_src: "local".into() },
                        shared: meta::Shared {
                            is_public: true,
                            public_scope: "system".into(),
                            public_src: "local".into(),
                            ..Default::default()
                        },
                        external: meta::External { source: "local".into(), imported_at: Some(tx.now()), ..Default::default() },
                        billing: meta::Billing { billing_type: "postpaid".into(), ..Default::default() },
                        host_type: "hypervisor".into(),
                        host_status: "offline".into(),
                        resource_type: "shared".into(),
                        page_size_kb: 4,
                        enable_pxe_boot: true,
                        credential: stored.clone(),
                        ..Host::default()
                    };
                    let row = put(tx, host.to_row(), hostname).await?;
                    tx.emit(Change { op: ChangeOp::Create, ..resource::changed(&row) }).await?;
                    resource::audit(tx, &base::Ctx::platform("enroll"), &row, "create", String::new()).await?;
                    resource::within(tx, row.facts.table, &bounds, |_| 1).await?;
                    Ok(host.meta.id)
                })
            })
            .await?;
        Ok(Enrolled { credential, host_id })
    }
}

/// Puts a new host's row in, under its hostname or the first free name of that kind. Several machines of one hostname may come at the same moment:
/// who finds a name taken only when the other has committed takes the next one.
async fn put(tx: &mut Tx, mut row: Row, hostname: &str) -> Result<Row> {
    for n in 0.. {
        let name = if n == 0 { hostname.to_string() } else { format!("{hostname}-{n}") };
        let taken = Cond::eq("name", name.as_str()).and(Cond::eq("deleted", false));
        if tx.exists("hosts", taken).await? {
            continue;
        }
        row.set("name", name);
        // Names are all that can clash: the identifier is new.
        if tx.try_insert(&row).await? {
            break;
        }
    }
    Ok(row)
}
