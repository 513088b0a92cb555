//! Logging in by the command line, as people and programs do: the real binary at a terminal, through a pipe, beside a browser and on a machine
//! without one, against a platform of its own.

mod lab;

use auth::totp;
use base::Clock;
use http::{Client, ClientOptions, Method};
use lab::{PATIENCE, Platform};
use serde_json::{Value as Json, json};
use std::{
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

const PASSWORD: &str = "Secret@Alice1";

/// The home of somebody who has never logged in, beside a platform.
struct Home {
    platform: Platform,
    dir: tempfile::TempDir,
    client: Client,
    admin: String,
    /// Everything that any command has said.
    said: Mutex<String>,
}

impl Home {
    async fn new() -> Home {
        let platform = Platform::start(&["--no-host"], true).await;
        let client = Client::new(ClientOptions { retries: 0, ..ClientOptions::default() }).expect("a client");
        let administrator =
            sim::Administrator::new(client.clone(), &format!("{}/compute", platform.url()), platform.data().join("admin.json"));
        let admin = administrator.session().await.expect("a token").to_string();
        let home = Home { platform, dir: tempfile::tempdir().expect("a directory"), client, admin, said: Mutex::default() };
        home.admin("POST", "/projects", json!({"project": {"name": "demo"}})).await;
        home.admin("POST", "/users", json!({"user": {"name": "alice", "password": PASSWORD}})).await;
        home.admin("PUT", "/projects/demo/users/alice/roles/project_owner", json!({})).await;
        home
    }

    fn auth_url(&self) -> String {
        format!("{}/identity/v3", self.platform.url())
    }

    async fn admin(&self, method: &str, path: &str, body: Json) -> Json {
        let method: Method = method.parse().expect("a method");
        let call = self.client.call(method, &format!("{}{path}", self.auth_url())).token(&self.admin);
        call.json(&body).send().await.expect("it is allowed").json().await.expect("an answer")
    }

    fn set_up(&self, mut command: Command, env: &[(&str, &str)]) -> Command {
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.dir.path());
        command.env("WOLKE_DATA", "/nonexistent").envs(env.iter().copied()).current_dir(self.dir.path());
        command
    }

    fn heard(&self, text: &str) {
        self.said.lock().expect("no panic in between").push_str(text);
    }

    /// A command without a terminal: whether it succeeded, and what it said on both ways out.
    fn run(&self, env: &[(&str, &str)], line: &str) -> (bool, String, String) {
        let mut command = self.set_up(Command::new(env!("CARGO_BIN_EXE_wolke")), env);
        let out = command.args(line.split(' ')).stdin(Stdio::null()).output().expect("wolke runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (told, complaint) = (text(&out.stdout), text(&out.stderr));
        self.heard(&complaint);
        (out.status.success(), told, complaint)
    }

    /// The JSON of a command that must succeed.
    fn json(&self, env: &[(&str, &str)], line: &str) -> Json {
        let (fine, told, complaint) = self.run(env, &format!("{line} -o json"));
        assert!(fine, "{line}: {complaint}");
        serde_json::from_str(&told).expect("JSON")
    }

    #[track_caller]
    fn fails(&self, env: &[(&str, &str)], line: &str, words: &[&str]) {
        let (fine, told, complaint) = self.run(env, line);
        assert!(!fine, "{line} succeeds: {told}");
        for word in words {
            assert!(complaint.contains(word), "{line} does not say {word:?}: {complaint}");
        }
    }

    /// A command at a terminal.
    fn terminal(&self, line: &str) -> Talk {
        let mut command = self.set_up(Command::new("script"), &[]);
        let wolke = format!("exec {} {line}", env!("CARGO_BIN_EXE_wolke"));
        command.args(["-q", "-e", "-E", "always", "-c", &wolke, "/dev/null"]);
        Talk::begin(command)
    }

    /// A command that waits for something besides the terminal.
    fn begin(&self, line: &str) -> Talk {
        self.begin_with(&[], line)
    }

    fn begin_with(&self, env: &[(&str, &str)], line: &str) -> Talk {
        let mut command = self.set_up(Command::new("sh"), env);
        command.args(["-c", &format!("exec {} {line} 2>&1", env!("CARGO_BIN_EXE_wolke"))]);
        Talk::begin(command)
    }

    fn file(&self, profile: &str) -> PathBuf {
        self.dir.path().join(format!(".config/wolke/profiles/{profile}.json"))
    }

    fn saved(&self, profile: &str) -> Json {
        serde_json::from_str(&std::fs::read_to_string(self.file(profile)).expect("a profile")).expect("JSON")
    }

    fn token(&self, profile: &str) -> String {
        self.saved(profile)["token"].as_str().expect("a token").to_string()
    }

    /// As when the login was a day ago.
    fn age(&self, profile: &str) {
        let mut old = self.saved(profile);
        old["expires_at"] = json!("2020-01-01T00:00:00.000000Z");
        std::fs::write(self.file(profile), old.to_string()).expect("written");
    }

    /// Voids the token of a profile at the platform.
    async fn void(&self, profile: &str) {
        let call = self.client.call(Method::DELETE, &format!("{}/auth/tokens", self.auth_url()));
        call.token(&self.admin).header("x-subject-token", &self.token(profile)).send().await.expect("void");
    }
}

/// A command under way.
struct Talk {
    child: Child,
    input: Option<ChildStdin>,
    heard: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Talk {
    fn begin(mut command: Command) -> Talk {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let (mut out, heard) = (child.stdout.take().expect("a pipe"), Arc::new(Mutex::new(String::new())));
        let (input, into) = (child.stdin.take(), heard.clone());
        let reader = std::thread::spawn(move || {
            let mut piece = [0u8; 4096];
            while let Ok(n @ 1..) = out.read(&mut piece) {
                into.lock().expect("no panic in between").push_str(&String::from_utf8_lossy(&piece[..n]));
            }
        });
        Talk { child, input, heard, reader: Some(reader) }
    }

    fn text(&self) -> String {
        self.heard.lock().expect("no panic in between").clone()
    }

    /// Waits until it has said something.
    #[track_caller]
    fn expect(&self, what: &str) -> String {
        let started = Instant::now();
        while !self.text().contains(what) {
            assert!(started.elapsed() < PATIENCE, "{what:?} does not come: {}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.text()
    }

    /// Waits for the whole rest of a line after some words.
    #[track_caller]
    fn rest_of(&self, words: &str) -> String {
        let started = Instant::now();
        loop {
            if let Some((_, rest)) = self.text().split_once(words)
                && let Some((rest, _)) = rest.split_once('\n')
            {
                return rest.trim().to_string();
            }
            assert!(started.elapsed() < PATIENCE, "{words:?} does not come: {}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for a question and answers it.
    #[track_caller]
    fn answer(&mut self, question: &str, answer: &str) {
        self.expect(question);
        // The next question may be the same.
        {
            let mut heard = self.heard.lock().expect("no panic in between");
            *heard = heard.replace(question, "(asked)");
        }
        writeln!(self.input.as_mut().expect("an input"), "{answer}").expect("written");
    }

    /// Waits for the end.
    fn end(mut self, home: &Home) -> (bool, String) {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(started.elapsed() < PATIENCE, "no end: {}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        };
        self.input.take();
        self.reader.take().into_iter().for_each(|r| r.join().expect("it reads to the end"));
        home.heard(&self.text());
        (status.success(), self.text())
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// A desktop whose browser writes down what it is to open, and stays until it is closed.
struct Desktop {
    path: String,
    page: PathBuf,
    closed: PathBuf,
}

impl Desktop {
    fn at(home: &Home) -> Desktop {
        let bin = home.dir.path().join("bin");
        let (page, closed) = (home.dir.path().join("page"), home.dir.path().join("closed"));
        std::fs::create_dir(&bin).expect("a directory");
        let (written, end) = (page.display(), closed.display());
        let script = format!(
            "#!/bin/sh\nprintf %s \"$1\" > {written}.new && mv {written}.new {written}\n\
             i=0; while [ ! -e {end} ] && [ $i -lt 6000 ]; do sleep 0.1; i=$((i+1)); done\n"
        );
        std::fs::write(bin.join("xdg-open"), script).expect("written");
        std::fs::set_permissions(bin.join("xdg-open"), std::fs::Permissions::from_mode(0o755)).expect("a program");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        Desktop { path, page, closed }
    }

    fn env<'a>(&'a self, display: &'a str) -> [(&'a str, &'a str); 2] {
        [("PATH", &self.path), ("DISPLAY", display)]
    }

    /// What the browser was started with.
    #[track_caller]
    fn opened(&self) -> String {
        let started = Instant::now();
        loop {
            if let Ok(page) = std::fs::read_to_string(&self.page) {
                return page;
            }
            assert!(started.elapsed() < PATIENCE, "no browser is started");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn close(&self) {
        std::fs::write(&self.closed, "").expect("written");
        std::fs::remove_file(&self.page).expect("it was opened");
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        let _gone = std::fs::write(&self.closed, "");
    }
}

/// Somebody's browser: one cookie, forms, and redirects it is asked to follow.
struct Browser {
    client: Client,
    origin: String,
    cookie: String,
}

struct Page {
    status: u16,
    location: String,
    text: String,
}

impl Browser {
    fn of(home: &Home) -> Browser {
        Browser { client: home.client.clone(), origin: home.platform.url(), cookie: String::new() }
    }

    async fn ask(&mut self, method: Method, url: &str, form: Option<&[(&str, &str)]>) -> Page {
        let url = if url.starts_with('/') { format!("{}{url}", self.origin) } else { url.to_string() };
        let mut call = self.client.call(method, &url).header("cookie", &self.cookie);
        if let Some(form) = form {
            let text = form.iter().map(|(k, v)| format!("{k}={}", http::path::encode(v))).collect::<Vec<_>>().join("&");
            call = call.header("content-type", "application/x-www-form-urlencoded").bytes(text);
        }
        let answer = call.send_any().await.expect("an answer");
        if let Some(cookie) = answer.header("set-cookie") {
            self.cookie = cookie.split(';').next().unwrap_or_default().to_string();
        }
        let (status, location) = (answer.status, answer.header("location").unwrap_or_default().to_string());
        Page { status, location, text: String::from_utf8_lossy(&answer.bytes(1 << 20).await.expect("a page")).into_owned() }
    }

    /// A page, and what it leads to on the platform.
    async fn open(&mut self, url: &str) -> Page {
        let mut page = self.ask(Method::GET, url, None).await;
        while page.status == 303 {
            page = self.ask(Method::GET, &page.location.clone(), None).await;
        }
        assert_eq!(page.status, 200, "{}", page.text);
        page
    }

    /// Sends the form of a page; what comes back, wherever it leads.
    async fn submit(&mut self, page: &Page, fields: &[(&str, &str)]) -> Page {
        let action = between(&page.text, "action=\"", "\"");
        let hidden = |name: &str| between(&page.text, &format!("name=\"{name}\" value=\""), "\"");
        let (d, csrf) = (hidden("d"), hidden("csrf"));
        let mut all = vec![("d", d.as_str()), ("csrf", csrf.as_str())];
        all.extend(fields);
        self.ask(Method::POST, &action, Some(&all)).await
    }

    /// Logs in at a page of the door and decides; what the decision leads to.
    async fn decide(&mut self, url: &str, passcode: &str, decision: &str) -> Page {
        let page = self.open(url).await;
        let login = [("user", "alice"), ("domain", "Default"), ("password", PASSWORD), ("passcode", passcode)];
        let inside = self.submit(&page, &login).await;
        assert_eq!(inside.status, 303, "{}", inside.text);
        let page = self.open(&inside.location).await;
        assert!(page.text.contains("You are logged in as <b>alice (Default)</b>"), "{}", page.text);
        self.submit(&page, &[("decision", decision)]).await
    }

    /// Decides, logged in as before.
    async fn decide_again(&mut self, url: &str, decision: &str) -> Page {
        let page = self.open(url).await;
        self.submit(&page, &[("decision", decision)]).await
    }
}

fn between(text: &str, before: &str, after: &str) -> String {
    let found = text.split_once(before).and_then(|(_, rest)| rest.split_once(after));
    found.unwrap_or_else(|| panic!("no {before} in {text}")).0.to_string()
}

fn bytes_of(base32: &str) -> Vec<u8> {
    let value = |c: u8| if c.is_ascii_uppercase() { c - b'A' } else { c - b'2' + 26 };
    let bits: Vec<u8> = base32.bytes().flat_map(|c| (0..5).rev().map(move |i| value(c) >> i & 1)).collect();
    bits.chunks_exact(8).map(|c| c.iter().fold(0, |byte, bit| byte << 1 | bit)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn platform_logins_of_people() {
    let home = Home::new().await;
    let url = home.auth_url();

    // Nobody there, and nobody it could be.
    home.fails(&[], "whoami", &["not logged in", "`wolke login`"]);
    home.fails(
        &[],
        &format!("login --auth-url http://127.0.0.1:1/v3 --user alice --password {PASSWORD}"),
        &["127.0.0.1:1", "does the platform run"],
    );
    home.fails(&[], &format!("login --auth-url {url} --user alice --password Wrong@Alice1"), &["wrong user name or password", "--domain"]);
    home.fails(&[], &format!("login --auth-url {url} --user alice"), &["--password is missing", "no terminal"]);
    assert!(!home.file("default").exists(), "a login that failed keeps nothing");

    // At a terminal: everything is asked for, the password is not shown.
    let mut talk = home.terminal("login");
    talk.answer("identity service, as", &url);
    talk.answer("user: ", "alice");
    talk.answer("password of alice: ", "Wrong@Alice2");
    let (fine, said) = talk.end(&home);
    assert!(!fine && said.contains("wrong user name or password") && !said.contains("Wrong@Alice2"), "{said}");
    let mut talk = home.terminal(&format!("login --auth-url {url}"));
    talk.answer("user: ", "alice");
    talk.answer("password of alice: ", PASSWORD);
    let (fine, said) = talk.end(&home);
    assert!(fine && said.contains("logged in as alice in project demo; profile default"), "{said}");
    let modes: Vec<u32> = [home.file("default"), home.dir.path().join(".config/wolke/profiles"), home.dir.path().join(".config/wolke")]
        .iter()
        .map(|p| std::fs::metadata(p).expect("it is there").permissions().mode() & 0o7777)
        .collect();
    assert_eq!(modes, [0o600, 0o700, 0o700]);
    let who = home.json(&[], "whoami");
    assert_eq!((&who["user"], &who["project"], &who["profile"]), (&json!("alice"), &json!("demo"), &json!("default")));
    assert!(home.run(&[], "server list").0);

    // Its end: a program is told how to go on, a person is asked for the password and nothing else.
    let first = home.token("default");
    home.age("default");
    home.fails(&[], "whoami", &["the login of the profile default has ended", "`wolke login`"]);
    let mut talk = home.terminal("whoami");
    talk.answer("password: ", PASSWORD);
    let (fine, said) = talk.end(&home);
    assert!(fine && said.contains("log in again as alice to go on") && said.contains("demo"), "{said}");
    assert_ne!(home.token("default"), first);
    home.void("default").await;
    home.fails(&[], "whoami", &["has ended", "`wolke login`"]);
    let mut talk = home.terminal("whoami");
    talk.answer("password: ", PASSWORD);
    assert!(talk.end(&home).0);
    assert_eq!(std::fs::metadata(home.file("default")).expect("it is there").permissions().mode() & 0o777, 0o600, "renewed as it was kept");

    // A program's key, instead of a login.
    let key = home.json(&[], "access-key create --name robot");
    let (id, secret) = (key["access_key"].as_str().expect("a key").to_string(), key["secret_key"].as_str().expect("a secret").to_string());
    let keys = [("OS_AUTH_URL", url.as_str()), ("OS_ACCESS_KEY", &id), ("OS_SECRET_KEY", &secret)];
    let who = home.json(&keys, "whoami");
    assert_eq!((&who["user"], &who["project"], &who["methods"]), (&json!("alice"), &json!("demo"), &json!(["aksk"])));
    let wrong = [keys[0], keys[1], ("OS_SECRET_KEY", "0123456789012345")];
    home.fails(&wrong, "whoami", &["401"]);
    assert!(home.run(&[], &format!("access-key disable {id}")).0);
    home.fails(&keys, "whoami", &["401"]);

    // A login that renews itself, without anybody.
    std::fs::write(home.dir.path().join("password"), PASSWORD).expect("written");
    let line = format!("login --profile kept --keep --auth-url {url} --user alice --password @password --project demo");
    let (fine, _, said) = home.run(&[], &line);
    assert!(fine && said.contains("it renews itself") && said.contains("--profile kept"), "{said}");
    let (first, credential) = (home.token("kept"), home.saved("kept")["credential"]["secret"].as_str().expect("a secret").to_string());
    home.age("kept");
    assert_eq!(home.json(&[], "whoami --profile kept")["methods"], json!(["application_credential"]));
    assert_ne!(home.token("kept"), first);
    assert!(home.run(&[], "logout --profile kept").0);
    assert_eq!(home.saved("kept").get("credential"), None);
    home.fails(&[], "whoami --profile kept", &["logged out", "`wolke login --profile kept`"]);
    assert_eq!(home.json(&[], "application-credential list"), json!([]), "deleted at the platform");

    // A second factor: asked for when there is somebody to ask, and a wrong code does not end it.
    let begun = home.json(&[], &format!("totp enable --password {PASSWORD}"));
    let seed = begun["secret"].as_str().expect("a secret").to_string();
    let code = |step: i64| totp::code(&bytes_of(&seed), step, totp::DIGITS, totp::Hash::Sha1);
    let now = || totp::step(Clock::real().now());
    let step = now();
    let recovery = home.json(&[], &format!("totp confirm {}", code(step)))["recovery_codes"].clone();
    let recovery: Vec<String> = serde_json::from_value(recovery).expect("codes");
    let line = format!("login --user alice --password {PASSWORD}");
    home.fails(&[], &line, &["one-time password", "--otp CODE"]);
    // A code is known for a minute or so; who asks later is told that it is wrong. Then another one is used up first.
    let (mut used, started) = (step, Instant::now());
    loop {
        let (fine, told, said) = home.run(&[], &format!("{line} --otp {}", code(used)));
        assert!(!fine, "it counts twice: {told}");
        if said.contains("was used before") {
            break;
        }
        assert!(now() > used + 1 && started.elapsed() < PATIENCE, "{said}");
        used = now();
        assert!(home.run(&[], &format!("{line} --otp {}", code(used))).0, "a code that was never used is refused");
    }
    let mut talk = home.terminal(&line);
    let wrong = if code(now()) == "000000" { "000001" } else { "000000" };
    talk.answer("recovery code: ", wrong);
    // That of the step after the one that is used up is good from now on, and for two steps.
    talk.answer("recovery code: ", &code(now().max(used + 1)));
    let (fine, said) = talk.end(&home);
    assert!(fine && said.contains("logged in as alice"), "{said}");
    assert_eq!(home.json(&[], "whoami")["methods"], json!(["password", "totp"]));
    assert!(home.run(&[], &format!("{line} --otp {}", recovery[0])).0);
    home.fails(&[], &format!("{line} --otp {}", recovery[0]), &["recovery code is wrong"]);

    let said = home.said.lock().expect("no panic in between").clone();
    for secret in [PASSWORD, &secret, &credential, &seed, &recovery[1], &home.token("default"), &first] {
        assert!(!said.contains(secret), "{secret} was said");
    }
    let kept = std::fs::read_to_string(home.file("default")).expect("a profile");
    assert!(!kept.contains(PASSWORD) && !kept.contains("password"), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn platform_logins_by_browser() {
    let home = Home::new().await;
    let url = home.auth_url();
    home.fails(&[], &format!("login --auth-url {url} --sso --user alice"), &["--user is typed in the browser"]);
    home.fails(&[], "login --auth-url http://127.0.0.1:1/v3 --device", &["127.0.0.1:1", "does the platform run"]);

    // A machine without a browser: somebody types the code in elsewhere. Another one is denied.
    let line = |more: &str| format!("login --auth-url {url} {more}");
    let (approved, denied) = (home.begin(&line("--device --profile far")), home.begin(&line("--device --profile never")));
    let mut browser = Browser::of(&home);
    let typed = browser.open(&format!("/identity/v3/auth/door/device?user_code={}", approved.rest_of("type in ").to_lowercase())).await;
    assert!(typed.text.contains("name=\"password\""), "{}", typed.text);
    let page = browser.decide(&approved.rest_of("or open "), "", "allow").await;
    assert!(page.text.contains("The command line is logged in"), "{}", page.text);
    let page = Browser::of(&home).decide(&denied.rest_of("or open "), "", "deny").await;
    assert!(page.text.contains("Nobody was let in"), "{}", page.text);
    let (fine, said) = approved.end(&home);
    assert!(fine && said.contains("logged in as alice in project demo; profile far"), "{said}");
    let (fine, said) = denied.end(&home);
    assert!(!fine && said.contains("the login was denied in the browser"), "{said}");
    assert!(!home.file("never").exists());
    assert_eq!(std::fs::metadata(home.file("far")).expect("it is there").permissions().mode() & 0o777, 0o600);
    let who = home.json(&[], "whoami --profile far");
    assert_eq!((&who["user"], &who["project"]), (&json!("alice"), &json!("demo")));
    assert_eq!(home.json(&[], "profile show far")["sso"], "device");

    // A browser of this machine, which brings the answer to a port of it.
    let talk = home.begin(&line("--sso --no-browser --profile near"));
    let page = talk.rest_of("--device)\n  ");
    let mut browser = Browser::of(&home);
    let wrong = browser.open(&page).await;
    let wrong = browser.submit(&wrong, &[("user", "alice"), ("domain", "Default"), ("password", "Wrong@Alice1")]).await;
    assert!(wrong.status == 401 && wrong.text.contains("wrong user name or password"), "{}", wrong.text);
    let back = browser.decide(&page, "", "allow").await;
    assert!(back.location.starts_with("http://127.0.0.1:") && back.location.contains("code="), "{}", back.location);
    let told = browser.ask(Method::GET, &back.location, None).await;
    assert!(told.status == 200 && told.text.contains("Logged in"), "{}", told.text);
    let (fine, said) = talk.end(&home);
    assert!(fine && said.contains("logged in as alice in project demo; profile near"), "{said}");
    assert_eq!(home.json(&[], "whoami --profile near")["user"], "alice");
    let talk = home.begin(&line("--sso --no-browser --profile never"));
    let page = talk.rest_of("--device)\n  ");
    let back = browser.decide_again(&page, "deny").await;
    browser.ask(Method::GET, &back.location, None).await;
    let (fine, said) = talk.end(&home);
    assert!(!fine && said.contains("the login was denied in the browser"), "{said}");

    // A desktop: its browser is started with the page, and nobody waits for it to be closed.
    let desk = Desktop::at(&home);
    let talk = home.begin_with(&desk.env(":9"), &line("--sso --profile desk"));
    let page = desk.opened();
    assert_eq!(page, talk.rest_of("--device)\n  "), "and shown, for there may be no browser");
    let back = browser.decide_again(&page, "allow").await;
    browser.ask(Method::GET, &back.location, None).await;
    let (fine, said) = talk.end(&home);
    assert!(fine && said.contains("logged in as alice in project demo; profile desk"), "{said}");
    assert_eq!(home.json(&[], "profile show desk")["sso"], "browser");
    desk.close();
    // No screen, or a wish for none: no browser.
    for (display, more) in [("", "--sso"), (":9", "--sso --no-browser")] {
        let talk = home.begin_with(&desk.env(display), &line(&format!("{more} --profile never")));
        let back = browser.decide_again(&talk.rest_of("--device)\n  "), "deny").await;
        browser.ask(Method::GET, &back.location, None).await;
        assert!(!talk.end(&home).0);
        assert!(!desk.page.exists(), "{more} with the screen {display:?}");
    }

    // When they end, what is said is how one got in; a terminal is not asked for a password that may not exist.
    let (near, far) = (home.token("near"), home.token("far"));
    home.void("near").await;
    home.age("far");
    home.fails(&[], "whoami --profile near", &["has ended", "`wolke login --profile near --sso`"]);
    home.fails(&[], "whoami --profile far", &["has ended", "`wolke login --profile far --device`"]);
    let said = home.said.lock().expect("no panic in between").clone();
    for secret in [PASSWORD, near.as_str(), far.as_str()] {
        assert!(!said.contains(secret), "{secret} was said");
    }
}
