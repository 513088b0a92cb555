//! What has to be done on a machine: a pure function of what is known about it.

use super::machine::Machine;
use super::packages::{Group, PACKAGES, Package};
use std::path::PathBuf;

/// A package source to add: a copy of the machine's own with another suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSource {
    pub suite: String,
    pub path: PathBuf,
    pub text: String,
}

#[derive(Default)]
pub struct Plan {
    /// Packages from the machine's own release.
    pub ordinary: Vec<&'static Package>,
    /// Packages from the backports suite, because a sibling is already from there; empty most of the time.
    pub backported: Vec<&'static Package>,
    /// `bookworm-backports`, when `backported` is not empty.
    pub suite: Option<String>,
    /// Set when apt does not know that suite yet.
    pub new_source: Option<NewSource>,
    /// What keeps the plan from working, said so that one can act on it.
    pub obstacle: Option<String>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.ordinary.is_empty() && self.backported.is_empty()
    }

    pub fn missing(&self) -> impl Iterator<Item = &'static Package> + '_ {
        PACKAGES.iter().filter(|p| self.ordinary.iter().chain(&self.backported).any(|m| m.name == p.name))
    }
}

/// What the groups need beyond what is installed.
pub fn plan(machine: &Machine, groups: &[Group]) -> Plan {
    let mut plan = Plan::default();
    let missing: Vec<_> = PACKAGES.iter().filter(|p| groups.contains(&p.group) && !machine.installed.contains_key(p.name)).collect();
    if missing.is_empty() {
        return plan;
    }
    if !machine.is_debian() {
        plan.obstacle = Some(format!(
            "this is {}, not Debian: install what these packages of Debian contain and run this again with --check",
            if machine.pretty.is_empty() { "an unknown system" } else { &machine.pretty }
        ));
        plan.ordinary = missing;
        return plan;
    }
    // Parts of one source package break each other when their versions differ, so who is late follows who is there.
    (plan.backported, plan.ordinary) =
        missing.into_iter().partition(|p| p.family.is_some_and(|family| family_is_backported(machine, family)));
    if !plan.backported.is_empty() {
        let suite = format!("{}-backports", machine.codename);
        if !machine.sources.iter().any(|source| source.suites.contains(&suite)) {
            match machine
                .sources
                .iter()
                .find(|source| source.suites.contains(&machine.codename) && source.components.iter().any(|c| c == "main"))
            {
                Some(own) => {
                    let (path, text) = own.with_suite(&suite);
                    plan.new_source = Some(NewSource { suite: suite.clone(), path, text });
                }
                None => {
                    plan.obstacle = Some(format!(
                        "packages of {suite} are installed, but no source of this machine has the suite {} to copy: add a source for {suite}",
                        machine.codename
                    ));
                }
            }
        }
        plan.suite = Some(suite);
    }
    plan
}

/// Whether an installed package of the family was built for a backports suite: its version ends in `~bpo12+1` or the like.
fn family_is_backported(machine: &Machine, family: &str) -> bool {
    PACKAGES
        .iter()
        .filter(|p| p.family == Some(family))
        .filter_map(|p| machine.installed.get(p.name))
        .any(|version| version.contains("~bpo"))
}

#[cfg(test)]
mod tests {
    use super::super::sources;
    use super::*;
    use std::path::Path;

    fn machine(codename: &str, installed: &[(&str, &str)], sources: &str) -> Machine {
        Machine {
            distribution: "debian".into(),
            codename: codename.into(),
            pretty: "Debian".into(),
            installed: installed.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            sources: sources::parse(Path::new("/etc/apt/sources.list"), sources),
            root: true,
        }
    }

    fn names(packages: &[&'static Package]) -> Vec<&'static str> {
        packages.iter().map(|p| p.name).collect()
    }

    const OWN: &str = "deb http://mirror.example/debian bookworm main\n";
    const BACKPORTED: (&str, &str) = ("qemu-utils", "1:10.0.2+ds-2+deb13u1~bpo12+1");

    #[test]
    fn a_fresh_machine_takes_everything_from_its_own_release() {
        for codename in ["bookworm", "trixie"] {
            let plan = plan(&machine(codename, &[], &OWN.replace("bookworm", codename)), &Group::ALL);
            assert_eq!(plan.ordinary.len(), PACKAGES.len());
            assert!(plan.backported.is_empty() && plan.suite.is_none() && plan.new_source.is_none() && plan.obstacle.is_none());
        }
    }

    #[test]
    fn a_backported_sibling_pulls_its_family_along() {
        let plan = plan(&machine("bookworm", &[BACKPORTED], OWN), &[Group::Host]);
        assert_eq!(names(&plan.backported), ["qemu-system-x86", "qemu-block-extra"]);
        assert!(!names(&plan.ordinary).contains(&"qemu-utils") && names(&plan.ordinary).contains(&"ovmf"));
        assert_eq!(plan.suite.as_deref(), Some("bookworm-backports"));
        let source = plan.new_source.expect("the suite is not known yet");
        assert_eq!(source.text, "deb http://mirror.example/debian bookworm-backports main\n");
    }

    #[test]
    fn a_known_suite_is_not_added_again() {
        let sources = format!("{OWN}deb http://other.example/debian bookworm-backports main\n");
        let plan = plan(&machine("bookworm", &[BACKPORTED], &sources), &Group::ALL);
        assert_eq!(plan.suite.as_deref(), Some("bookworm-backports"));
        assert!(plan.new_source.is_none());
    }

    #[test]
    fn own_versions_stay_own() {
        let plan = plan(&machine("bookworm", &[("qemu-utils", "1:7.2+dfsg-7+deb12u18")], OWN), &[Group::Host]);
        assert!(names(&plan.ordinary).contains(&"qemu-system-x86") && plan.backported.is_empty());
    }

    #[test]
    fn nothing_to_copy_is_said() {
        let plan = plan(&machine("bookworm", &[BACKPORTED], ""), &[Group::Host]);
        assert!(plan.obstacle.expect("an obstacle").contains("add a source for bookworm-backports"));
    }

    #[test]
    fn complete_machines_need_nothing_and_other_systems_are_told() {
        let all: Vec<_> = PACKAGES.iter().map(|p| (p.name, "1")).collect();
        let mut complete = machine("bookworm", &all, OWN);
        assert!(plan(&complete, &Group::ALL).is_empty());
        complete.distribution = "fedora".into();
        assert!(plan(&complete, &Group::ALL).obstacle.is_none());
        complete.installed.remove("git");
        assert!(plan(&complete, &Group::ALL).obstacle.is_some());
    }
}
