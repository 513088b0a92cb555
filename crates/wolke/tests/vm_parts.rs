//! A real guest gets and loses disks and interfaces while it runs, and another size and root disk while it does not; asked through the API, seen
//! from inside.

mod lab;

use http::Method;
use lab::browser::Browser;
use lab::machine::{on_a_machine, wait};
use lab::qga::GuestAgent;
use lab::{PATIENCE, Platform, until_none};
use serde_json::{Value as Json, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PASSWORD: &str = "Another-1-password";

/// Waits until a server's status is this; the server then.
async fn reach(platform: &Platform, word: &str) -> Json {
    until_none(PATIENCE * 3, async || match platform.get("servers/web").await {
        Ok(web) if web["server"]["status"] == word => vec![],
        Ok(web) => vec![format!("{} {}", web["server"]["status"], web["server"]["status_reason"])],
        Err(e) => vec![e.to_string()],
    })
    .await;
    platform.get("servers/web").await.expect("the server")["server"].clone()
}

/// An action, done to its end; the server then. What went wrong would stand in it.
async fn act(platform: &Platform, action: &str, body: Json, word: &str) -> Json {
    platform.post(&format!("servers/web/{action}"), body).await.unwrap_or_else(|e| panic!("{action}: {e}"));
    let web = reach(platform, word).await;
    assert_eq!(web["status_reason"].as_str().unwrap_or_default(), "", "{action}");
    web
}

/// Waits until a command in the guest says this.
async fn inside(guest: &GuestAgent, command: &str, want: &str) {
    let mut last = String::new();
    for _ in 0..120 {
        last = guest.run(command).await.trim().to_string();
        if last == want {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("{command} says {last}, not {want}");
}

/// How many disks of so many MiB the guest has.
fn disks(mb: u64) -> String {
    format!("cat /sys/block/*/size | grep -cx {} || true", mb * 2048)
}

#[test]
fn vm_parts_come_and_go_while_it_runs() {
    on_a_machine("vm_parts_come_and_go_while_it_runs", async || {
        let platform = Platform::start(&[], false).await;
        platform.host_is_online().await;
        platform.upload_guest();
        platform.create("web", "testvm", 128).await;
        reach(&platform, "running").await;
        let (id, _) = platform.qemus().pop().expect("a process");
        let directory = platform.host_data().join("guests").join(&id);
        let ready = |times: usize| {
            let text = String::from_utf8_lossy(&std::fs::read(directory.join("serial.log")).unwrap_or_default()).into_owned();
            let said = text.lines().filter(|l| l.contains("@guest ") && l.contains(r#""event":"ready""#)).count();
            (said >= times).then_some(())
        };
        wait("the guest", || ready(1)).await;
        let guest = GuestAgent::new(&directory.join("qga.sock"));

        inside(&guest, &disks(37), "0").await;
        let web = act(&platform, "createdisk", json!({"disks": ["37m"]}), "running").await;
        inside(&guest, &disks(37), "1").await;
        let disk = web["disks_info"][1]["id"].as_str().expect("a second disk").to_string();
        act(&platform, "resize-disk", json!({"disk_id": disk, "size": "53m"}), "running").await;
        inside(&guest, &disks(53), "1").await;
        act(&platform, "detachdisk", json!({"disk_id": disk, "keep_disk": true}), "running").await;
        inside(&guest, &disks(53), "0").await;
        act(&platform, "attachdisk", json!({"disk_id": disk, "driver": "virtio"}), "running").await;
        inside(&guest, &disks(53), "1").await;

        let cards = "ls /sys/class/net | grep -vcx lo";
        inside(&guest, cards, "1").await;
        let network = web["nics"][0]["network_id"].clone();
        let web = act(&platform, "attachnetwork", json!({"nets": [{"network": network}]}), "running").await;
        inside(&guest, cards, "2").await;
        let mac = web["nics"][1]["mac"].as_str().expect("a second interface").to_string();
        inside(&guest, &format!("cat /sys/class/net/*/address | grep -cx {mac} || true"), "1").await;
        act(&platform, "detachnetwork", json!({"mac": mac}), "running").await;
        inside(&guest, cards, "1").await;

        // Another password, by the guest's own agent, which has it set as its system does.
        act(&platform, "set-password", json!({"password": PASSWORD}), "running").await;
        let hash = guest.run("sed -n 's/^root:\\([^:]*\\):.*/\\1/p' /etc/shadow").await.trim().to_string();
        let crypt = std::process::Command::new("perl").args(["-e", "print crypt($ARGV[0], $ARGV[1])", PASSWORD, &hash]).output();
        assert_eq!(String::from_utf8_lossy(&crypt.expect("perl runs").stdout), hash);
        let told = platform.post("servers/web/login-info", json!({})).await.expect("it is told");
        assert_eq!((&told["server"]["username"], &told["server"]["password"]), (&json!("root"), &json!(PASSWORD)));

        act(&platform, "change-config", json!({"vcpu_count": 2, "vmem_size": 160, "force_stop": true}), "running").await;
        inside(&guest, "nproc", "2").await;
        // A kept disk stays in its place over a stop.
        inside(&guest, &disks(53), "1").await;
        guest.run("echo here > /root/mark; sync").await;

        act(&platform, "stop", json!({"is_force": true}), "ready").await;
        act(&platform, "rebuild-root", json!({"auto_start": true}), "running").await;
        inside(&guest, "cat /root/mark 2>/dev/null || echo anew", "anew").await;

        platform.delete("web").await.expect("it goes");
        let rows = platform.rows().await;
        until_none(PATIENCE, async || {
            let servers = platform.servers().await.map(|all| all.len());
            if matches!(servers, Ok(0)) { platform.strays_of_host(&rows).await } else { vec![format!("{servers:?}")] }
        })
        .await;
    });
}

/// Reads until the text has come.
async fn hear(console: &mut (impl AsyncReadExt + Unpin), want: &str) -> String {
    let (mut heard, mut piece) = (Vec::new(), [0u8; 4096]);
    let all = tokio::time::timeout(PATIENCE, async {
        while !String::from_utf8_lossy(&heard).contains(want) {
            let n = console.read(&mut piece).await.expect("a console that is open");
            assert!(n > 0, "the console closed after {}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&piece[..n]);
        }
    });
    let done = all.await.is_ok();
    let heard = String::from_utf8_lossy(&heard).into_owned();
    assert!(done, "not heard: {want}; but: {heard}");
    heard
}

#[test]
fn vm_consoles_come_over_the_network() {
    on_a_machine("vm_consoles_come_over_the_network", async || {
        let platform = Platform::start(&[], false).await;
        platform.host_is_online().await;
        platform.upload_guest();
        platform.create("web", "testvm", 128).await;
        reach(&platform, "running").await;

        // The screen: what RFB begins with, and it may be watched by two.
        let mut screen = platform.console("web", "vnc", true).await.expect("a screen");
        hear(&mut screen, "RFB 003.").await;
        hear(&mut platform.console("web", "vnc", true).await.expect("another"), "RFB 003.").await;

        // The serial port: what was said before is shown, what is typed arrives, and the newest caller has it.
        let mut serial = platform.console("web", "serial", true).await.expect("a serial console");
        hear(&mut serial, "login:").await;
        serial.write_all(b"root\n").await.expect("typed");
        hear(&mut serial, "assword").await;
        let mut newer = platform.console("web", "serial", true).await.expect("a serial console");
        hear(&mut newer, "assword").await;
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, serial.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the older one ends");

        // Refused with a reason.
        let refused = async |server: &str, kind: &str, known: bool| match platform.console(server, kind, known).await {
            Err(e) => (e.class(), e.to_string()),
            Ok(_) => panic!("{server} {kind}: opened"),
        };
        assert_eq!(refused("web", "vnc", false).await.0, base::Class::Forbidden);
        assert_eq!(refused("nothing", "vnc", true).await.0, base::Class::ResourceNotFound);
        let (class, text) = refused("web", "spice", true).await;
        assert!(class == base::Class::InputParameter && text.contains("vnc, serial"), "{class:?} {text}");
        let events = platform.get("events?obj_name=web&limit=50").await.expect("events").to_string();
        assert!(events.contains("serial opened"), "{events}");

        platform.post("servers/web/stop", json!({"is_force": true})).await.expect("it is taken");
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, newer.read_to_end(&mut rest)).await.expect("it ends with the guest").ok();
        reach(&platform, "ready").await;
        let (class, text) = refused("web", "vnc", true).await;
        assert!(class == base::Class::InvalidStatus && text.contains("start it first"), "{class:?} {text}");
    });
}

/// A licence ends while a guest runs: the guest does not notice, and everything that is there can be worked with; only new things wait for a new one.
#[test]
fn vm_outlives_its_licence() {
    on_a_machine("vm_outlives_its_licence", async || {
        let keys = tempfile::tempdir().expect("a directory");
        let wolke = |args: &[&str]| {
            let out =
                std::process::Command::new(env!("CARGO_BIN_EXE_wolke")).args(args).current_dir(keys.path()).output().expect("wolke runs");
            assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).expect("text").trim().to_string()
        };
        let signer = wolke(&["license", "key", "k"]);
        let sign = |more: &[&str]| wolke(&[&["license", "sign", "--key", "k", "--issued-to", "A company"], more].concat());
        let trusted = format!("apigateway.licence_signers={signer}");
        let platform = Platform::start(&["--set", &trusted], false).await;
        let profile = std::fs::read_to_string(platform.data().join("admin.json")).expect("a profile");
        let profile: Json = serde_json::from_str(&profile).expect("JSON");
        let mut admin = Browser::new(&platform.url());
        assert_eq!(admin.login("admin", profile["password"].as_str().expect("a password")).await.0, 200);
        platform.host_is_online().await;
        // One host, as many as there are; the agent's second start is no second host.
        let licence = |admin: &Browser, text: String| admin.call(Method::POST, "/api/v1/licenses").json(&json!({ "license": text }));
        let taken = licence(&admin, sign(&["--hosts", "1", "--cpus", "2"])).send_any().await.expect("an answer");
        assert_eq!(taken.status, 200);
        let like = |name: &str| {
            json!({"server": {"name": name, "vcpu_count": 1, "vmem_size": 32, "disks": ["1g"], "nets": ["default"], "auto_start": true,
            "disable_delete": false}})
        };
        platform.post("servers", like("web")).await.expect("it is taken");
        reach(&platform, "running").await;
        let process = platform.qemus();
        assert_eq!(process.len(), 1);
        let refused = |answer: base::Result<Json>| {
            let e = answer.expect_err("a refusal");
            assert_eq!(e.class().http(), 402, "{e}");
        };

        // It ends by itself: until that moment everything goes on, from then on nothing new.
        let end = base::Clock::real().now().plus_secs(60).to_string();
        assert_eq!(licence(&admin, sign(&["--not-after", &end])).send_any().await.expect("an answer").status, 200);
        assert_eq!(admin.get("/api/v1/licenses").await["status"], "valid");
        until_none(PATIENCE, async || {
            let answer = platform.post("keypairs", json!({"keypair": {"generate_name": "k"}})).await;
            match answer {
                Err(e) if e.class().http() == 402 => vec![],
                other => vec![format!("{other:?}")],
            }
        })
        .await;
        assert_eq!(admin.get("/api/v1/licenses").await["status"], "expired");
        refused(platform.post("servers", like("more")).await);
        refused(platform.post("servers/web/createdisk", json!({"disks": ["37m"]})).await);
        assert_eq!(platform.qemus(), process, "the same process runs on");
        assert_eq!(reach(&platform, "running").await["power_states"], "on");
        // Its agent dies and comes back as the host it was.
        let old = platform.agent().expect("an agent");
        lab::machine::kill(old);
        wait("the next agent", || platform.agent().filter(|now| *now != old)).await;
        platform.host_is_online().await;
        assert_eq!(platform.qemus(), process);
        platform.post("servers/web/stop", json!({"is_force": true})).await.expect("it stops");
        reach(&platform, "ready").await;
        refused(platform.post("servers/web/change-config", json!({"vcpu_count": 2})).await);
        platform.post("servers/web/change-config", json!({"vmem_size": 48})).await.expect("changed");
        platform.post("servers/web/start", json!({})).await.expect("it starts");
        reach(&platform, "running").await;
        platform.delete("web").await.expect("it goes");
        until_none(PATIENCE, async || platform.servers().await.expect("servers").iter().map(Json::to_string).collect()).await;
        assert_eq!(platform.qemus(), vec![]);
    });
}
