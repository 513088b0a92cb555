//! The error body: flat keys for this platform's clients and an `error` object for OpenStack's, in one document (spec 01 §8.3).

use crate::{Response, i18n, response::JSON_TYPE};
use base::{Class, Clock, Error, Json, Lang};
use hyper::{StatusCode, header};
use serde_json::json;
use std::sync::LazyLock;

static ZONE: LazyLock<jiff::tz::TimeZone> = LazyLock::new(jiff::tz::TimeZone::system);

/// The document for an error.
pub fn body(error: &Error, lang: Lang, request_id: &str) -> Json {
    let class = error.class();
    let details = i18n::message(error, lang);
    let code = class.http();
    let now = jiff::Timestamp::from_microsecond(Clock::real().now().micros()).unwrap_or_default();
    json!({
        "code": code,
        "class": class.name(),
        "time": now.to_zoned(ZONE.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        "data": {"id": error.template(), "fields": error.args()},
        "request_id": request_id,
        "error": {"code": code, "class": class.name(), "title": title(class), "message": details},
        "details": details,
    })
}

pub(crate) fn response(error: &Error, lang: Lang, request_id: &str) -> Response {
    let mut out = Response::json(&body(error, lang, request_id));
    // 499 is not a registered status but hyper sends any three digits.
    out.status = StatusCode::from_u16(error.class().http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    out.headers.insert(header::CONTENT_TYPE, JSON_TYPE);
    out
}

fn title(class: Class) -> &'static str {
    StatusCode::from_u16(class.http()).ok().and_then(|s| s.canonical_reason()).unwrap_or("Service Abnormal")
}

/// Reads the error another service answered. The class survives; the template too when the service sent it, so that the message can still be
/// translated for whoever asked us.
pub fn parse(status: u16, body: &[u8]) -> Error {
    let json: Json = serde_json::from_slice(body).unwrap_or(Json::Null);
    let flat = if json["class"].is_string() || json["details"].is_string() {
        &json
    } else {
        // OpenStack's form: one key wrapping code, message and title.
        json.as_object().filter(|o| o.len() == 1).and_then(|o| o.values().next()).unwrap_or(&Json::Null)
    };
    let class = flat["class"].as_str().and_then(Class::from_name).unwrap_or_else(|| by_status(status));
    if let (Some(id), Some(fields)) = (flat["data"]["id"].as_str(), flat["data"]["fields"].as_array()) {
        let args: Vec<String> = fields.iter().map(|f| f.as_str().map_or_else(|| f.to_string(), str::to_string)).collect();
        if id.matches("{}").count() == args.len() {
            return Error::new(class, id, args);
        }
    }
    let details = ["details", "message", "detail", "title"].iter().find_map(|k| flat[*k].as_str()).map(str::to_string);
    let details = details.unwrap_or_else(|| String::from_utf8_lossy(body).trim().chars().take(500).collect());
    let details = if details.is_empty() { format!("HTTP status {status}") } else { details };
    Error::new(class, "{}", vec![details])
}

fn by_status(status: u16) -> Class {
    match status {
        401 => Class::Unauthorized,
        402 => Class::RequireLicense,
        403 => Class::Forbidden,
        404 => Class::NotFound,
        406 => Class::NotAcceptable,
        409 => Class::Conflict,
        413 => Class::TooLargeEntity,
        423 => Class::UserLocked,
        429 => Class::TooManyRequests,
        499 | 503 => Class::ServiceAbnormal,
        501 => Class::NotImplemented,
        502 => Class::BadGateway,
        504 => Class::Timeout,
        507 => Class::OutOfResource,
        400..=498 => Class::BadRequest,
        _ => Class::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::err;

    #[test]
    fn both_families_of_clients_find_their_keys() {
        let e = err!(InputParameter, "{}: expected {}, got {}", "limit", "integer", "x").with_context("secret path");
        let b = body(&e, Lang::Zh, "r-1");
        assert_eq!((b["code"].as_u64(), b["class"].as_str()), (Some(400), Some("InputParameterError")));
        assert_eq!(b["details"], "limit：应为 integer，实际为 x");
        assert_eq!(b["data"], json!({"id": "{}: expected {}, got {}", "fields": ["limit", "integer", "x"]}));
        assert_eq!((b["error"]["code"].as_u64(), b["error"]["title"].as_str()), (Some(400), Some("Bad Request")));
        assert_eq!(b["error"]["message"], b["details"]);
        assert_eq!(b["request_id"], "r-1");
        let time = b["time"].as_str().unwrap();
        assert!(time.len() == 25 && base::Timestamp::parse(time).is_some(), "{time}");
        assert!(!b.to_string().contains("secret path"));
    }

    #[test]
    fn an_error_survives_the_wire() {
        for class in Class::ALL {
            let e = Error::new(*class, "server {} is on {}", vec!["a".into(), "h1".into()]);
            let back = parse(class.http(), body(&e, Lang::Zh, "r").to_string().as_bytes());
            assert_eq!((back.class(), back.to_string()), (*class, e.to_string()));
        }
    }

    #[test]
    fn foreign_errors() {
        let check = |status, text: &str, class: Class, message: &str| {
            let e = parse(status, text.as_bytes());
            assert_eq!((e.class(), e.to_string().as_str()), (class, message), "{text}");
        };
        check(404, r#"{"error":{"code":404,"message":"no such image","title":"Not Found"}}"#, Class::NotFound, "no such image");
        check(
            409,
            r#"{"code":409,"class":"DuplicateNameError","details":"Duplicate name zone zone0"}"#,
            Class::DuplicateName,
            "Duplicate name zone zone0",
        );
        check(400, r#"{"code":400,"class":"PolicyTooOdd","details":"{} odd"}"#, Class::BadRequest, "{} odd");
        check(502, "<html>bad gateway</html>", Class::BadGateway, "<html>bad gateway</html>");
        check(500, "", Class::Internal, "HTTP status 500");
        check(400, r#"{"class":"InputParameterError","details":"d","data":{"id":"{} {}","fields":["one"]}}"#, Class::InputParameter, "d");
    }
}
