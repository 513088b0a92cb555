//! What people do with servers: make one and wait for it, log in, look at its screen.

use crate::{
    body,
    catalog::{Field, Service},
    fail::{Fail, Result},
    generate::{fielded, id, leaf},
    output,
    session::{Session, segment},
    wait,
};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value as Json, json};
use std::{os::unix::process::CommandExt, time::Duration};

fn timeout() -> Arg {
    Arg::new("timeout")
        .long("timeout")
        .value_name("SECONDS")
        .default_value("900")
        .value_parser(clap::value_parser!(u64))
        .help("Longest wait of --wait")
}

fn patience(matches: &ArgMatches) -> Duration {
    Duration::from_secs(matches.get_one::<u64>("timeout").copied().unwrap_or(900))
}

pub fn create_command(fields: &[Field]) -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| Arg::new(name).long(name).value_name(value).help(help);
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let command = leaf("create", "Make servers: place them, make their disks, give them addresses.")
        .arg(Arg::new("f:name").value_name("NAME").required(true).help("Name; with --count of several, -1, -2, … are added"))
        .arg(option("image", "IMAGE", "Image of the root disk, by id or name"))
        .arg(option("sku", "SKU", "Named size; instead of --cpu and --memory"))
        .arg(option("cpu", "N", "Virtual processors, 1 to 128").value_parser(clap::value_parser!(i64)))
        .arg(option("memory", "SIZE", "Memory: MiB, or with a unit as in 2G"))
        .arg(
            option(
                "disk",
                "SPEC",
                "Disk (repeatable), the first is the root disk: 20g (of --image), IMAGE:20g, 100g:ssd, or a JSON object",
            )
            .action(ArgAction::Append),
        )
        .arg(
            option("net", "SPEC", "Network (repeatable) by id or name, with an address as in NET:10.0.0.9, or a JSON object")
                .action(ArgAction::Append),
        )
        .arg(option("keypair", "KEYPAIR", "Key pair put into the guest"))
        .arg(option("password", "TEXT", "Password put into the guest: 12 characters or more, of all kinds; @FILE reads it"))
        .arg(option("user-data", "TEXT", "Script or cloud-config for the guest's first boot, 64 KiB at most; @FILE reads it"))
        .arg(option("count", "N", "How many, 1 to 500").value_parser(clap::value_parser!(i64).range(1..=500)))
        .arg(flag("start", "Power on when made"))
        .arg(flag("wait", "Wait until done, and show how it goes"))
        .arg(timeout());
    let own = ["name", "vcpu_count", "vmem_size", "keypair_id", "instance_type", "disks", "nets", "password", "user_data", "auto_start"];
    let rest: Vec<Field> = fields.iter().filter(|f| !own.contains(&f.name.as_str())).cloned().collect();
    fielded(command.next_help_heading("Further fields"), &rest, false)
}

/// Commands of servers beside the generated ones.
pub fn commands() -> Vec<Command> {
    vec![
        leaf("wait", "Wait until a server is in a status.")
            .arg(id(false))
            .arg(
                Arg::new("for")
                    .long("for")
                    .value_name("STATUS")
                    .value_delimiter(',')
                    .default_value("running,ready")
                    .help("Statuses to wait for"),
            )
            .arg(timeout()),
        Command::new("ssh")
            .about("Log in to a server over the network.")
            .arg(id(false))
            .arg(Arg::new("user").short('l').long("user").value_name("NAME").help("Account; left out: the server's, or root"))
            .arg(Arg::new("identity").short('i').long("identity").value_name("FILE").help("Private key"))
            .arg(Arg::new("print").long("print").action(ArgAction::SetTrue).help("Print the command instead of running it"))
            .arg(Arg::new("args").num_args(0..).last(true).help("Command to run there, and further arguments of ssh")),
        Command::new("console").about("Attach to the serial console; Ctrl-] leaves it.").arg(id(false)),
        Command::new("vnc")
            .about("Make a port of this machine the server's screen, for any VNC viewer; Ctrl-C ends it.")
            .arg(id(false))
            .arg(
                Arg::new("listen")
                    .long("listen")
                    .value_name("ADDRESS:PORT")
                    .help("Where the viewer connects; left out: a free port of 127.0.0.1"),
            ),
    ]
}

/// The body of a create request.
fn request(known: &[Field], matches: &ArgMatches) -> Result<(Map<String, Json>, i64)> {
    let mut server = body::fields(known, matches)?;
    let mut put = |key: &str, value: Option<Json>| {
        if let Some(value) = value {
            server.insert(key.into(), value);
        }
    };
    let text = |id: &str| body::text(matches, id);
    put("instance_type", text("sku").map(Json::from));
    put("vcpu_count", matches.get_one::<i64>("cpu").map(|n| Json::from(*n)));
    put("vmem_size", text("memory").map(|t| t.parse::<i64>().map_or_else(|_| Json::from(t), Json::from)));
    put("keypair", text("keypair").map(Json::from));
    for (option, key) in [("password", "password"), ("user-data", "user_data")] {
        if let Some(given) = text(option) {
            let read = body::from_file(given)?;
            put(key, Some(Json::from(if key == "password" { read.trim_end_matches('\n') } else { &read })));
        }
    }
    if body::flag(matches, "start") {
        put("auto_start", Some(Json::from(true)));
    }
    // The service protects what nobody said anything about; at a prompt, protection is what one asks for.
    if body::text(matches, "f:disable_delete").is_none() {
        put("disable_delete", Some(Json::from(false)));
    }
    let disks = disks(text("image"), &body::many(matches, "disk"))?;
    put("disks", (!disks.is_empty()).then_some(Json::Array(disks)));
    let nets = body::many(matches, "net").into_iter().map(net).collect::<Result<Vec<Json>>>()?;
    put("nets", (!nets.is_empty()).then_some(Json::Array(nets)));
    Ok((server, matches.get_one::<i64>("count").copied().unwrap_or(1)))
}

/// The image goes into the first disk; a bare size is a disk of that size.
fn disks(image: Option<&str>, specs: &[&str]) -> Result<Vec<Json>> {
    let mut out = Vec::new();
    for (i, spec) in specs.iter().enumerate() {
        let image = image.filter(|_| i == 0);
        out.push(if spec.starts_with('{') {
            let mut json: Json = serde_json::from_str(spec).map_err(|e| Fail::usage(format!("--disk {spec}: not JSON: {e}")))?;
            if let Some(image) = image {
                json["image_id"] = Json::from(image);
            }
            json
        } else if is_size(spec) {
            match image {
                Some(image) => json!({"image_id": image, "size": spec}),
                None => json!({ "size": spec }),
            }
        } else {
            match image {
                Some(image) => Json::from(format!("{image}:{spec}")),
                None => Json::from(*spec),
            }
        });
    }
    if let (Some(image), true) = (image, out.is_empty()) {
        out.push(json!({"image_id": image, "size": -1}));
    }
    Ok(out)
}

fn is_size(text: &str) -> bool {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn net(spec: &str) -> Result<Json> {
    if spec.starts_with('{') {
        return serde_json::from_str(spec).map_err(|e| Fail::usage(format!("--net {spec}: not JSON: {e}")));
    }
    Ok(match spec.split_once(':') {
        None => json!({ "network": spec }),
        Some((network, address)) if address.parse::<std::net::Ipv4Addr>().is_ok() => json!({"network": network, "address": address}),
        Some(_) => Json::from(spec),
    })
}

pub async fn create(matches: &ArgMatches) -> Result<()> {
    let known = crate::catalog::resource("server").and_then(|r| r.create.as_deref()).unwrap_or_default();
    let (server, count) = request(known, matches)?;
    if !server.contains_key("disks") {
        return Err(Fail::usage("name an image for the root disk with --image, or a disk with --disk; `wolke image list` shows images"));
    }
    if !server.contains_key("vmem_size") && !server.contains_key("instance_type") {
        return Err(Fail::usage(
            "say how large it is with --memory and --cpu, as in --memory 2G --cpu 2, or with --sku; `wolke sku list` shows sizes",
        ));
    }
    let session = Session::open(matches).await?;
    let mut body = json!({ "server": server });
    if count != 1 {
        body["count"] = Json::from(count);
    }
    let answer = session.post(Service::Compute, "/servers", &body).await?;
    let made: Vec<Json> = match answer["servers"].as_array() {
        Some(batch) => {
            batch.iter().map(|b| b["body"].clone()).map(|mut b| if b["server"].is_object() { b["server"].take() } else { b }).collect()
        }
        None => vec![answer["server"].clone()],
    };
    if !body::flag(matches, "wait") {
        return tell(matches, &made);
    }
    let start = body::flag(matches, "start");
    for server in &made {
        eprintln!("{}", plan(server, &body["server"], start));
    }
    let goal: &[&str] = if start { &["running"] } else { &["ready", "running"] };
    let mut ended = Vec::new();
    for server in &made {
        ended.push(wait::server(&session, server["id"].as_str().unwrap_or_default(), goal, patience(matches)).await?);
    }
    tell(matches, &ended)
}

fn tell(matches: &ArgMatches, servers: &[Json]) -> Result<()> {
    match servers {
        [one] if body::text(matches, "output") != Some("table") => output::one(matches, one),
        many => output::list(matches, "servers", many),
    }
}

/// What is going to be made, in one line.
fn plan(server: &Json, asked: &Json, start: bool) -> String {
    let spec = |items: &Json| -> Vec<String> {
        let word = |item: &Json| match item {
            Json::String(text) => text.clone(),
            other => ["image_id", "network", "size", "address"]
                .iter()
                .filter_map(|k| other.get(*k))
                .filter(|v| v.as_i64() != Some(-1))
                .map(crate::table::cell)
                .collect::<Vec<_>>()
                .join(":"),
        };
        items.as_array().map(|all| all.iter().map(word).collect()).unwrap_or_default()
    };
    let (disks, nets) = (spec(&asked["disks"]), spec(&asked["nets"]));
    format!(
        "{}: {} vCPU, {} MiB, disks {}, network {}{}",
        server["name"].as_str().unwrap_or_default(),
        server["vcpu_count"],
        server["vmem_size"],
        disks.join(" and "),
        if nets.is_empty() { "chosen by the platform".to_string() } else { nets.join(" and ") },
        if start { ", then started" } else { "" }
    )
}

pub async fn wait(matches: &ArgMatches) -> Result<()> {
    let session = Session::open(matches).await?;
    let goal = body::many(matches, "for");
    let server = wait::server(&session, body::text(matches, "id").unwrap_or_default(), &goal, patience(matches)).await?;
    tell(matches, &[server])
}

/// The server, by id or name.
pub async fn fetch(session: &Session, which: &str, property: &str) -> Result<Json> {
    let path = format!("/servers/{}{}{property}", segment(which), if property.is_empty() { "" } else { "/" });
    Ok(session.get(Service::Compute, &path, &[]).await?["server"].take())
}

pub async fn ssh(matches: &ArgMatches) -> Result<()> {
    let which = body::text(matches, "id").unwrap_or_default();
    let session = Session::open(matches).await?;
    let server = fetch(&session, which, "").await?;
    let address = server["ips"].as_str().unwrap_or_default().split(',').next().unwrap_or_default().to_string();
    if address.is_empty() {
        return Err(Fail::usage(format!("server {which} has no address; it is {}", server["status"].as_str().unwrap_or("unknown"))));
    }
    if server["status"] != "running" {
        return Err(Fail::usage(format!(
            "server {which} is {}; start it: wolke server start {which}",
            server["status"].as_str().unwrap_or("unknown")
        )));
    }
    let account = server["login_account"].as_str().filter(|a| !a.is_empty()).unwrap_or("root");
    let user = body::text(matches, "user").unwrap_or(account);
    let mut line: Vec<String> = vec!["ssh".into()];
    if let Some(key) = body::text(matches, "identity") {
        line.extend(["-i".into(), key.into()]);
    }
    line.push(format!("{user}@{address}"));
    line.extend(body::many(matches, "args").into_iter().map(str::to_string));
    if body::flag(matches, "print") {
        return output::print(&(line.join(" ") + "\n"));
    }
    let error = std::process::Command::new(&line[0]).args(&line[1..]).exec();
    Err(Fail::usage(format!("ssh cannot be run ({error}); install openssh-client, or use: {}", line.join(" "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<(Json, i64)> {
        let resource = crate::catalog::resource("server").expect("servers");
        let known = resource.create.as_deref().expect("servers are created");
        let matches = create_command(known).try_get_matches_from(line.split(' ')).expect("a right command line");
        request(known, &matches).map(|(map, count)| (Json::Object(map), count))
    }

    #[test]
    fn options_become_a_request() {
        let (body, count) = asked("create web --image demo --cpu 2 --memory 2G --disk 20g --disk 100g:ssd --net default --net lan:10.0.0.9 --keypair k --start --count 3")
            .expect("a body");
        assert_eq!(count, 3);
        assert_eq!(
            body,
            json!({"name": "web", "vcpu_count": 2, "vmem_size": "2G", "keypair": "k", "auto_start": true, "disable_delete": false,
                "disks": [{"image_id": "demo", "size": "20g"}, "100g:ssd"], "nets": [{"network": "default"}, {"network": "lan", "address": "10.0.0.9"}]})
        );
    }

    #[test]
    fn an_image_alone_is_a_root_disk_of_its_size() {
        let (body, _) = asked("create web --image demo --sku tiny --disk {\"size\":10240} --hostname h").expect("a body");
        assert_eq!(
            body,
            json!({"name": "web", "instance_type": "tiny", "hostname": "h", "disable_delete": false, "disks": [{"size": 10240, "image_id": "demo"}]})
        );
        assert_eq!(disks(Some("demo"), &[]).expect("disks"), [json!({"image_id": "demo", "size": -1})]);
        assert_eq!(disks(None, &["demo:20g"]).expect("disks"), [json!("demo:20g")]);
        assert!(disks(None, &["{x"]).is_err() && net("{x").is_err());
    }
}
