//! The pages of the login door: text in, HTML out. Pure. English and Chinese; no script, one style sheet that the policy names by its hash.

use base::Lang;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::markup::escaped;
use http::{HeaderValue, Response};
use ring::digest::{SHA256, digest};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:24rem;margin:3rem auto;padding:0 1rem}label{display:block;margin:.5rem 0}\
input{width:100%;box-sizing:border-box;padding:.4rem;font:inherit}button,a.button{display:inline-block;margin:.5rem .5rem 0 0;padding:.4rem 1rem;\
font:inherit;border:1px solid #666;border-radius:4px;background:#fff;color:#000;text-decoration:none;cursor:pointer}.error{color:#a00}code{font-size:1.4em}";

fn say(lang: Lang, en: &'static str, zh: &'static str) -> &'static str {
    match lang {
        Lang::En => en,
        Lang::Zh => zh,
    }
}

/// A page with its headers. `beyond`: the one other place a form of it may lead to.
fn page(lang: Lang, title: &str, body: &str, beyond: &str) -> Response {
    let code = say(lang, "en", "zh-CN");
    let html = format!(
        "<!DOCTYPE html><html lang=\"{code}\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{0}</title><style>{STYLE}</style></head><body><h1>{0}</h1>{body}</body></html>",
        escaped(title)
    );
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy =
        format!("default-src 'none'; style-src 'sha256-{hash}'; form-action 'self' {beyond}; frame-ancestors 'none'; base-uri 'none'");
    guarded(Response::bytes(HTML, html)).with_header("Content-Security-Policy", &policy)
}

/// Headers of everything the door answers.
pub fn guarded(answer: Response) -> Response {
    answer
        .with_header("Cache-Control", "no-store")
        .with_header("Referrer-Policy", "no-referrer")
        .with_header("X-Content-Type-Options", "nosniff")
        .with_header("X-Frame-Options", "DENY")
}

/// What every form carries.
pub struct Form<'a> {
    /// Path below which the door lies, such as `/v3/auth/door`.
    pub base: &'a str,
    pub door: &'a str,
    pub csrf: &'a str,
}

impl Form<'_> {
    fn hidden(&self) -> String {
        format!(
            "<input type=\"hidden\" name=\"d\" value=\"{}\"><input type=\"hidden\" name=\"csrf\" value=\"{}\">",
            escaped(self.door),
            escaped(self.csrf)
        )
    }
}

/// Who is it: a password, or a provider. `providers`: identifier and name.
pub fn login(lang: Lang, form: &Form<'_>, providers: &[(String, String)], error: &str) -> Response {
    let s = |en, zh| say(lang, en, zh);
    let mut body = String::new();
    if !error.is_empty() {
        body += &format!("<p class=\"error\">{}</p>", escaped(error));
    }
    for (id, name) in providers {
        let (id, door) = (http::path::encode(id), http::path::encode(form.door));
        let text = format!("{} {}", s("Log in at", "登录方式："), name);
        body += &format!("<p><a class=\"button\" href=\"{}/sso/{id}?d={door}\">{}</a></p>", escaped(form.base), escaped(&text));
    }
    let input =
        |name: &str, kind: &str, label: &str, more: &str| format!("<label>{label}<input name=\"{name}\" type=\"{kind}\" {more}></label>");
    body += &format!("<form method=\"post\" action=\"{}/login\">{}", escaped(form.base), form.hidden());
    body += &input("user", "text", s("User", "用户名"), "autocomplete=\"username\" required");
    body += &input("domain", "text", s("Domain", "域"), "value=\"Default\"");
    body += &input("password", "password", s("Password", "密码"), "autocomplete=\"current-password\" required");
    body += &input(
        "passcode",
        "text",
        s("One-time password, if you have one", "动态口令（如已启用）"),
        "autocomplete=\"one-time-code\" inputmode=\"numeric\"",
    );
    body += &format!("<button>{}</button></form>", s("Log in", "登录"));
    page(lang, s("Log in", "登录"), &body, "")
}

/// Shall it be let in? `code` is shown for a device, so that it can be compared; `beyond` is where the answer goes.
pub fn approve(lang: Lang, form: &Form<'_>, user: &str, code: &str, from: &str, beyond: &str) -> Response {
    let s = |en, zh| say(lang, en, zh);
    let mut body = format!("<p>{} <b>{}</b>.</p>", s("You are logged in as", "您已登录为"), escaped(user));
    if code.is_empty() {
        body += &format!("<p>{}</p>", s("The command line on this machine asks to work as you.", "本机的命令行请求以您的身份工作。"));
    } else {
        body += &format!(
            "<p>{}</p><p><code>{}</code></p>",
            s("A command line shows this code and asks to work as you:", "某个命令行显示此代码，并请求以您的身份工作："),
            escaped(code)
        );
        body += &format!("<p>{} {}</p>", s("It asked from the address", "请求来自地址"), escaped(from));
        body += &format!("<p>{}</p>", s("Allow it only if you started it yourself.", "仅当这是您本人发起时才允许。"));
    }
    body += &format!(
        "<form method=\"post\" action=\"{}/decide\">{}<button name=\"decision\" value=\"allow\">{}</button><button name=\"decision\" value=\"deny\">{}</button></form>",
        escaped(form.base),
        form.hidden(),
        s("Allow", "允许"),
        s("Deny", "拒绝")
    );
    page(lang, s("Command line", "命令行"), &body, beyond)
}

/// Where the code of a device is typed in.
pub fn code(lang: Lang, action: &str, error: &str) -> Response {
    let s = |en, zh| say(lang, en, zh);
    let mut body = String::new();
    if !error.is_empty() {
        body += &format!("<p class=\"error\">{}</p>", escaped(error));
    }
    body += &format!(
        "<form method=\"get\" action=\"{}\"><label>{}<input name=\"user_code\" autocomplete=\"off\" required></label><button>{}</button></form>",
        escaped(action),
        s("The code that the command line shows", "命令行显示的代码"),
        s("Go on", "继续")
    );
    page(lang, s("Command line", "命令行"), &body, "")
}

/// The end of the way, good or bad.
pub fn told(lang: Lang, text: &str) -> Response {
    page(lang, say(lang, "Log in", "登录"), &format!("<p>{}</p>", escaped(text)), "")
}

pub fn allowed(lang: Lang) -> Response {
    told(lang, say(lang, "The command line is logged in; this page can be closed.", "命令行已登录；可以关闭此页面。"))
}

pub fn denied(lang: Lang) -> Response {
    told(lang, say(lang, "Nobody was let in; this page can be closed.", "已拒绝；可以关闭此页面。"))
}

pub fn unknown_code(lang: Lang) -> &'static str {
    say(
        lang,
        "This code is not known, or it is too old. Compare it with what the command line shows.",
        "此代码不存在或已过期。请与命令行显示的代码核对。",
    )
}

pub fn too_late(lang: Lang) -> Response {
    told(
        lang,
        say(
            lang,
            "This took too long, or was finished already. Begin again at the command line.",
            "耗时过长或已完成。请在命令行重新开始。",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_place() {
        let form = Form { base: "/v3/auth/door", door: "\"><script>", csrf: "x" };
        let answer = login(Lang::En, &form, &[("id\"".into(), "<b>corp</b>".into())], "<img>");
        let html = String::from_utf8_lossy(answer.body_bytes().expect("a body")).into_owned();
        for bad in ["<script", "<b>corp", "<img", "id\""] {
            assert!(!html.contains(bad), "{bad}: {html}");
        }
        let policy = answer.headers["content-security-policy"].to_str().expect("text");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
        let zh = approve(Lang::Zh, &form, "ann", "ABCD-EFGH", "10.0.0.1", "");
        assert!(String::from_utf8_lossy(zh.body_bytes().expect("a body")).contains("允许"));
    }
}
