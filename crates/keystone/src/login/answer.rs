//! What a token stands for, told (spec 02 §2.2).

use crate::{grants, state::State};
use api_identity::{Assigned, AssignedScope, AuthContext, CatalogService, DomainRef, Named, ProjectRef, RoleRef, Subject, User, UserRef};
use auth::Claims;
use base::{Caller, Resource, Result, Role, Row, Value};
use store::Read;

/// The answer about a token. Roles are the token's own; names, policies and catalogue are what they are now.
pub async fn subject(state: &State, claims: &Claims) -> Result<Subject> {
    let caller = &claims.caller;
    let user = state.db.read().one(User::facts(), &caller.user_id).await?;
    let scoped = !caller.project_domain_id.is_empty();
    let mut out = Subject {
        audit_ids: claims.audit_ids.clone(),
        context: AuthContext { source: claims.source.clone(), ip: claims.ip.map(|ip| ip.to_string()).unwrap_or_default() },
        expires_at: claims.expires.to_string(),
        issued_at: claims.issued.to_string(),
        is_domain: claims.is_domain,
        methods: claims.methods.clone(),
        user: told(caller, user.as_ref()),
        ..Subject::default()
    };
    if scoped {
        let domain = DomainRef { id: caller.project_domain_id.clone(), name: caller.project_domain.clone() };
        let (id, name) =
            if claims.is_domain { (domain.id.clone(), domain.name.clone()) } else { (caller.project_id.clone(), caller.project.clone()) };
        out.project = Some(ProjectRef { domain, id, name });
        // A token with very many roles has them without names.
        let name = |r: &Role| if r.name.is_empty() { state.directory.role_name(&r.id) } else { r.name.clone() };
        out.roles = caller.roles.iter().map(|r| Named { id: r.id.clone(), name: name(r) }).collect();
        out.policies = state.rules.names(caller, claims.ip);
        out.catalog = catalogue(state);
    } else {
        assigned(state, claims, &mut out).await?;
    }
    Ok(out)
}

/// Enabled services with their endpoints.
pub fn catalogue(state: &State) -> Vec<CatalogService> {
    state.catalogue.load().as_ref().clone()
}

fn told(caller: &Caller, user: Option<&Row>) -> UserRef {
    let text = |name: &str| user.map(|u| u.text(name).to_string()).unwrap_or_default();
    UserRef {
        domain: DomainRef { id: caller.user_domain_id.clone(), name: caller.user_domain.clone() },
        id: caller.user_id.clone(),
        name: caller.user.clone(),
        is_system_account: caller.is_system_account,
        displayname: text("displayname"),
        email: text("email"),
        mobile: text("mobile"),
        password_expires_at: user.and_then(|u| match u.get("password_expires_at") {
            Value::Time(at) => Some(at.to_string()),
            _ => None,
        }),
    }
}

/// The projects the user of an unscoped token can enter, and as what: a login page chooses from them.
async fn assigned(state: &State, claims: &Claims, out: &mut Subject) -> Result<()> {
    let caller = &claims.caller;
    let mut held = grants::of_user(&mut state.db.read(), &caller.user_id, None).await?;
    held.sort_by(|a, b| (&a.target_id, &a.role_id).cmp(&(&b.target_id, &b.role_id)));
    held.dedup_by(|a, b| a.target_id == b.target_id && a.role_id == b.role_id);
    for a in held {
        let Some(owner) = state.directory.find_project(&a.target_id).filter(|_| state.directory.project_enabled(&a.target_id)) else {
            continue;
        };
        let project = ProjectRef { domain: Named { id: owner.domain_id, name: owner.domain }, id: owner.project_id, name: owner.project };
        let role_name = state.directory.role_name(&a.role_id);
        let role_domain = state.directory.role_domain(&a.role_id);
        let as_role = Caller {
            roles: vec![Role { id: a.role_id.clone(), name: role_name.clone() }],
            project_id: project.id.clone(),
            ..Caller::clone(caller)
        };
        out.role_assignments.push(Assigned {
            policies: Some(state.rules.names(&as_role, claims.ip)),
            role: RoleRef {
                domain: Named { name: state.directory.domain_name(&role_domain), id: role_domain },
                id: a.role_id,
                name: role_name,
            },
            scope: AssignedScope { project: Some(project.clone()), domain: None },
            user: Some(ProjectRef { domain: out.user.domain.clone(), id: out.user.id.clone(), name: out.user.name.clone() }),
            group: None,
        });
        if !out.projects.contains(&project) {
            out.projects.push(project);
        }
    }
    out.projects.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
    Ok(())
}
