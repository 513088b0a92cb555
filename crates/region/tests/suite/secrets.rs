//! Secrets of servers and key pairs: in clear for whom they are for, and nowhere in the database.

use crate::world::{How, World, document_of, obey, quiet};
use serde_json::json;
use std::sync::Mutex;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_lies_about_in_clear() {
    const PASSWORD: &str = "Very-Secret-Word-1";
    const SCRIPT: &str = "#cloud-config with a token in it";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.db");
    let world = World::on(store::Db::open(&format!("sqlite://{}", file.display())).await.unwrap()).await;
    let host = world.machine("h1").await;
    let how = Mutex::new(How::Obedient);
    let life = async {
        let pair = world.post("keypairs", json!({"keypair": {"name": "k"}})).await.unwrap();
        assert_eq!(pair["keypair"]["scheme"], "RSA");
        let length = pair["keypair"]["private_key_len"].as_u64().unwrap();
        assert!((1600..1750).contains(&length), "{pair}");
        let more = world.post("keypairs", json!({"keypair": {"name": "e", "scheme": "ED25519"}})).await.unwrap();
        assert_eq!(more["keypair"]["scheme"], "ED25519");
        let vm = json!({"name": "vm", "vmem_size": 512, "disks": ["tiny:2g"], "password": PASSWORD, "keypair": "k", "user_data": SCRIPT, "disable_delete": false});
        let answer = world.post("servers", json!({ "server": vm })).await.unwrap();
        assert!(!answer.to_string().contains(PASSWORD));
        world.reach("vm", &["ready"]).await;
        quiet(&world).await;

        let document = world.region.agents.desired(&host, -1, Duration::ZERO).await.unwrap().document.unwrap();
        assert_eq!((document.guests[0].meta.password.as_str(), document.guests[0].meta.user_data.as_str()), (PASSWORD, SCRIPT));
        assert!(document.guests[0].meta.ssh_keys[0].starts_with("ssh-rsa AAAA"));
        let clear = world.get("servers/vm").await.unwrap().to_string() + &world.get("servers/vm/create-params").await.unwrap().to_string();
        assert!(!clear.contains(PASSWORD) && !clear.contains(SCRIPT) && !clear.contains("v1."), "{clear}");

        let mut bytes = Vec::new();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            bytes.extend(std::fs::read(entry.unwrap().path()).unwrap());
        }
        let holds = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
        assert!(holds("tiny") && holds("ssh-rsa AAAA"), "the search finds what is there");
        assert!(!holds(PASSWORD) && !holds(SCRIPT) && !holds("PRIVATE KEY"));

        // One that is damaged costs its own guest the password, and no other guest of the host anything.
        world
            .db
            .tx(|tx| {
                store::work(async move { tx.update("servers", store::Cond::True, vec![store::set("login_secret", "v1.damaged")]).await })
            })
            .await
            .unwrap();
        let document = document_of(&world.region.agents, &host).await;
        assert_eq!((document.guests[0].meta.password.as_str(), document.guests[0].meta.user_data.as_str()), ("", SCRIPT));

        let taken = world.get("keypairs/k/privatekey").await.unwrap();
        let pem = taken["keypair"]["private_key"].as_str().unwrap().to_string();
        assert_eq!((pem.len() as u64, pem.starts_with("-----BEGIN RSA PRIVATE KEY-----\n")), (length, true));
        assert!(world.get("keypairs/k/privatekey").await.is_err(), "it can be fetched once");
        assert_eq!(world.get("keypairs/k").await.unwrap()["keypair"]["private_key_len"], json!(0));
        let wrong = world.post("keypairs", json!({"keypair": {"name": "w", "scheme": "DSA"}})).await.unwrap_err();
        assert_eq!(
            (wrong.class().name(), wrong.to_string()),
            ("InputParameterError", "scheme: DSA is not one of RSA, ED25519".to_string())
        );
    };
    tokio::select! {
        () = life => {}
        () = obey(&world.region.agents, &host, &how) => {}
    }
}
