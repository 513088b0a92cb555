//! Against the kernel, each test in a network namespace of its own: the test runs itself again under `unshare`.

use netlink::{IpNet, MAIN_TABLE, Netlink, Route};
use std::process::Command;

/// Runs `body` in a fresh network namespace. Needs root and `unshare` of package util-linux.
fn in_namespace(test: &str, body: impl AsyncFnOnce()) {
    const INSIDE: &str = "NETLINK_TEST_INSIDE";
    if std::env::var(INSIDE).is_ok_and(|t| t == test) {
        return tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body());
    }
    let own = std::env::current_exe().unwrap();
    let mut again = Command::new("unshare");
    again.args(["--net", "--pid", "--fork", "--kill-child", "--"]).arg(own).args([test, "--exact", "--nocapture"]).env(INSIDE, test);
    let status = again.status().expect("cannot run `unshare`: install package util-linux");
    assert!(status.success(), "{test} failed inside its namespace (root is needed)");
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[test]
fn links_come_change_and_go() {
    in_namespace("links_come_change_and_go", async || {
        let kernel = Netlink::open().unwrap();
        assert_eq!(kernel.link("va").await.unwrap(), None);
        kernel.create_veth("va", "vb").await.unwrap();
        assert!(kernel.create_veth("va", "vc").await.unwrap_err().is_present());
        let va = kernel.link("va").await.unwrap().unwrap();
        assert_eq!((va.kind.as_str(), va.up, va.mtu), ("veth", false, 1500));
        kernel.set_up(va.index, true).await.unwrap();
        kernel.set_mtu(va.index, 1400).await.unwrap();
        kernel.set_mac(va.index, [2, 0, 0, 0, 0, 7]).await.unwrap();
        kernel.set_alias(va.index, "mine").await.unwrap();
        let va = kernel.link("va").await.unwrap().unwrap();
        assert_eq!((va.up, va.mtu, va.mac, va.alias.as_str()), (true, 1400, Some([2, 0, 0, 0, 0, 7]), "mine"));
        let names: Vec<String> = kernel.links().await.unwrap().into_iter().map(|l| l.name).collect();
        assert!(["lo", "va", "vb"].iter().all(|n| names.iter().any(|name| name == n)), "{names:?}");
        kernel.delete_link("va").await.unwrap();
        kernel.delete_link("va").await.unwrap();
        assert_eq!(kernel.link("vb").await.unwrap(), None, "the other end goes with it");
    });
}

#[test]
fn addresses_and_routes() {
    in_namespace("addresses_and_routes", async || {
        let kernel = Netlink::open().unwrap();
        kernel.create_veth("va", "vb").await.unwrap();
        let index = kernel.link("va").await.unwrap().unwrap().index;
        kernel.set_up(index, true).await.unwrap();
        for _ in 0..2 {
            kernel.ensure_address(index, net("10.1.0.1/24")).await.unwrap();
        }
        kernel.ensure_address(index, net("fd00::1/64")).await.unwrap();
        let addresses = kernel.addresses(index).await.unwrap();
        assert!(addresses.contains(&net("10.1.0.1/24")) && addresses.contains(&net("fd00::1/64")), "{addresses:?}");

        let connected = Route {
            destination: net("10.1.0.0/24"),
            via: None,
            link: index,
            source: Some([10, 1, 0, 1].into()),
            metric: 0,
            table: MAIN_TABLE,
        };
        assert!(kernel.routes(false).await.unwrap().contains(&connected), "the kernel's own route of the prefix");
        let far = Route {
            destination: net("172.20.0.0/16"),
            via: Some([10, 1, 0, 9].into()),
            link: index,
            source: None,
            metric: 50,
            table: MAIN_TABLE,
        };
        let default = Route { destination: net("0.0.0.0/0"), table: 7777, ..far.clone() };
        for route in [&far, &default, &far, &default] {
            kernel.ensure_route(route).await.unwrap();
        }
        let routes = kernel.routes(false).await.unwrap();
        assert_eq!(routes.iter().filter(|r| **r == far || **r == default).count(), 2, "{routes:?}");
        for route in [&far, &default, &far] {
            kernel.remove_route(route).await.unwrap();
        }
        assert!(!kernel.routes(false).await.unwrap().iter().any(|r| *r == far || *r == default));

        for _ in 0..2 {
            kernel.remove_address(index, net("10.1.0.1/24")).await.unwrap();
        }
        assert!(!kernel.addresses(index).await.unwrap().contains(&net("10.1.0.1/24")));
        let unreachable = kernel.ensure_route(&Route { via: Some([10, 9, 9, 9].into()), ..far }).await.unwrap_err();
        assert!(!unreachable.is_missing() && !unreachable.is_present(), "{unreachable:?}");
    });
}

#[test]
fn a_tap_stays_until_it_is_removed() {
    in_namespace("a_tap_stays_until_it_is_removed", async || {
        let kernel = Netlink::open().unwrap();
        kernel.ensure_tap("guest0").await.unwrap();
        let first = kernel.link("guest0").await.unwrap().unwrap();
        assert_eq!(first.kind, "tun");
        kernel.ensure_tap("guest0").await.unwrap();
        assert_eq!(kernel.link("guest0").await.unwrap().unwrap().index, first.index, "kept, not made anew");
        kernel.create_veth("va", "vb").await.unwrap();
        for bad in ["", "a-name-of-17-byte", "a/b", "a b", "-x", "va"] {
            assert!(kernel.ensure_tap(bad).await.is_err(), "{bad:?}");
        }
        kernel.delete_link("guest0").await.unwrap();
        assert_eq!(kernel.link("guest0").await.unwrap(), None);
    });
}
