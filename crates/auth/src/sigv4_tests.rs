//! Published vectors: the AWS Signature Version 4 test suite, the worked examples of S3's documentation, and the example of Version 2.

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const S3_SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

fn at(stamp: &str) -> Timestamp {
    parse_stamp(stamp).expect("a stamp")
}

/// One case of the suite (all but the one of folded header lines, which HTTP has done away with: RFC 9112 §5.2): key `AKIDEXAMPLE`, 2015-08-30T12:36:00Z, region us-east-1, service `service`. Every header is signed. The suite's
/// paths are as in its `.req` files, before any escape.
fn suite(name: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &str, want: &str) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut all = pairs(&[("Host", "example.amazonaws.com"), ("X-Amz-Date", "20150830T123600Z")]);
    all.extend(pairs(headers));
    let mut names: Vec<String> = all.iter().map(|(k, _)| k.to_ascii_lowercase()).collect();
    names.sort();
    names.dedup();
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={}, Signature={want}",
        names.join(";")
    );
    all.push(("Authorization".into(), authorization));
    let (query, hash) = (parameters(query), sha256(body.as_bytes()));
    let message = Message { method, path, query: &query, headers: &all, body_hash: &hash };
    let signature = Signature::find(&message).unwrap_or_else(|| panic!("{name}: no signature"));
    let now = at("20150830T123600Z");
    assert_eq!(signature.check(SECRET, &message, now), Ok(()), "{name}: {:?}", signature.canonical(&message));
    assert_eq!(signature.check("another", &message, now), Err(Refused::Wrong), "{name}");
    let other = Message { method: "PUT", ..message };
    assert_eq!(signature.check(SECRET, &other, now), Err(Refused::Wrong), "{name}");
}

#[test]
fn the_test_suite_of_version_4() {
    let get = |name: &str, target: &str, want: &str| suite(name, "GET", target, &[], "", want);
    let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    get("get-vanilla", "/", vanilla);
    get("get-vanilla-query", "/", vanilla);
    get("get-relative", "/example/..", vanilla);
    get("get-relative-relative", "/example1/example2/../..", vanilla);
    get("get-slash", "//", vanilla);
    get("get-slash-dot-slash", "/./", vanilla);
    get("get-slash-pointless-dot", "/./example", "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5");
    get("get-slashes", "//example//", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84");
    get("get-space", "/example space/", "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741");
    get(
        "get-unreserved",
        "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    );
    get("get-utf8", "/\u{1234}", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85");
    get("get-vanilla-empty-query-key", "/?Param1=value1", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb");
    get(
        "get-vanilla-query-order-key-case",
        "/?Param2=value2&Param1=value1",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    );
    get(
        "get-vanilla-query-order-value",
        "/?Param1=value2&Param1=value1",
        "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694",
    );
    get(
        "get-vanilla-query-unreserved",
        "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    );
    get("get-vanilla-utf8-query", "/?\u{1234}=bar", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04");

    let h = |name: &str, method: &str, headers: &[(&str, &str)], want: &str| suite(name, method, "/", headers, "", want);
    h(
        "get-header-key-duplicate",
        "GET",
        &[("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")],
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    );
    h(
        "get-header-value-order",
        "GET",
        &[("My-Header1", "value4"), ("My-Header1", "value1"), ("My-Header1", "value3"), ("My-Header1", "value2")],
        "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
    );
    h(
        "get-header-value-trim",
        "GET",
        &[("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")],
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    );
    let post = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
    h("post-vanilla", "POST", &[], post);
    h("post-header-key-case", "POST", &[], post);
    h("post-header-key-sort", "POST", &[("My-Header1", "value1")], "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c");
    h("post-header-value-case", "POST", &[("My-Header1", "VALUE1")], "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d");
    let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
    h(
        "post-sts-header-before",
        "POST",
        &[("X-Amz-Security-Token", token)],
        "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
    );
    suite("post-vanilla-query", "POST", "/?Param1=value1", &[], "", "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11");
    suite(
        "post-x-www-form-urlencoded",
        "POST",
        "/",
        &[("Content-Type", "application/x-www-form-urlencoded")],
        "Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    );
    suite(
        "post-x-www-form-urlencoded-parameters",
        "POST",
        "/",
        &[("Content-Type", "application/x-www-form-urlencoded; charset=utf8")],
        "Param1=value1",
        "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
    );
}

/// The worked example of the general reference: IAM ListUsers.
#[test]
fn the_example_of_the_general_reference() {
    let headers = pairs(&[
        ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
        ("host", "iam.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, \
             Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        ),
    ]);
    let query = parameters("Action=ListUsers&Version=2010-05-08");
    let message = Message { method: "GET", path: "/", query: &query, headers: &headers, body_hash: EMPTY };
    let signature = Signature::find(&message).expect("a signature");
    assert_eq!(signature.check(SECRET, &message, at("20150830T124900Z")), Ok(()));
}

/// The examples of S3's documentation: headers, and a signed URL.
#[test]
fn the_examples_of_s3() {
    let now = at("20130524T000000Z");
    let check = |method: &str, target: &str, more: &[(&str, &str)], hash: &str, want: &str| {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = pairs(&[("Host", "examplebucket.s3.amazonaws.com"), ("x-amz-content-sha256", hash)]);
        if !more.iter().any(|(k, _)| *k == "x-amz-date") {
            headers.extend(pairs(&[("x-amz-date", "20130524T000000Z")]));
        }
        headers.extend(pairs(more));
        let mut names: Vec<String> = headers.iter().map(|(k, _)| k.to_ascii_lowercase()).collect();
        names.sort();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders={},Signature={want}",
            names.join(";")
        );
        headers.push(("Authorization".into(), authorization));
        let query = parameters(query);
        let message = Message { method, path, query: &query, headers: &headers, body_hash: hash };
        let signature = Signature::find(&message).expect("a signature");
        assert_eq!(signature.check(S3_SECRET, &message, now), Ok(()), "{target}: {:?}", signature.canonical(&message));
    };
    check("GET", "/test.txt", &[("Range", "bytes=0-9")], EMPTY, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    check(
        "PUT",
        "/test%24file.text",
        &[("Date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
    check("GET", "/?lifecycle", &[], EMPTY, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    check("GET", "/?max-keys=2&prefix=J", &[], EMPTY, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");

    let query = parameters(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
         &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
         &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
    );
    let headers = pairs(&[("host", "examplebucket.s3.amazonaws.com")]);
    let message = Message { method: "GET", path: "/test.txt", query: &query, headers: &headers, body_hash: UNSIGNED };
    let signature = Signature::find(&message).expect("a signed URL");
    assert_eq!(signature.expires, Some(86_400));
    assert_eq!(signature.check(S3_SECRET, &message, now), Ok(()));
    assert_eq!(signature.check(S3_SECRET, &message, now.plus_secs(86_400)), Ok(()), "good to its end");
    assert_eq!(signature.check(S3_SECRET, &message, now.plus_secs(86_401)), Err(Refused::Stale));
    assert_eq!(signature.check(S3_SECRET, &message, now.plus_secs(-SKEW - 1)), Err(Refused::Stale), "from the future");
}

/// The example of Version 2 in the documentation of Elastic MapReduce.
#[test]
fn the_example_of_version_2() {
    let query = parameters(
        "AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Action=DescribeJobFlows&SignatureMethod=HmacSHA256&SignatureVersion=2\
         &Timestamp=2011-10-03T15%3A19%3A30&Version=2009-03-31&Signature=i91nKc4PWAt0JJIdXwz9HxZCJDdiy6cf%2FMj6vPxyYIs%3D",
    );
    let message = Message { method: "GET", path: "/", query: &query, headers: &[], body_hash: "" };
    let now = Timestamp::parse("2011-10-03T15:20:00Z").expect("a time");
    let check = |secret: &str, host: &str, now| check_v2(secret, host, &message, now);
    assert_eq!(check(S3_SECRET, "elasticmapreduce.amazonaws.com", now), Ok(()));
    assert_eq!(check(S3_SECRET, "ElasticMapReduce.amazonaws.com", now), Ok(()));
    assert_eq!(check("another", "elasticmapreduce.amazonaws.com", now), Err(Refused::Wrong));
    assert_eq!(check(S3_SECRET, "elsewhere", now), Err(Refused::Wrong));
    assert_eq!(check(S3_SECRET, "elasticmapreduce.amazonaws.com", now.plus_secs(2 * SKEW)), Err(Refused::Stale));
}

/// The first example of S3's older signatures: the string as an S3 gateway hands it on.
#[test]
fn strings_that_were_signed_elsewhere() {
    let text = "GET\n\n\nTue, 27 Mar 2007 19:36:42 +0000\n/awsexamplebucket1/photos/puppy.jpg";
    let now = Timestamp::parse("2007-03-27T19:40:00Z").expect("a time");
    let right = "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=";
    assert_eq!(check_text(S3_SECRET, text, right, now), Ok(()));
    assert_eq!(check_text(S3_SECRET, text, right, now.plus_secs(3600)), Err(Refused::Stale));
    assert_eq!(check_text("another", text, right, now), Err(Refused::Wrong));
    assert_eq!(check_text(S3_SECRET, "GET", right, now), Err(Refused::Wrong));

    let text = "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n\
                7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972";
    let right = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
    let now = at("20130524T000000Z");
    assert_eq!(check_text(S3_SECRET, text, right, now), Ok(()));
    assert_eq!(check_text(S3_SECRET, text, right, now.plus_secs(-1000)), Err(Refused::Stale));
    assert_eq!(check_text(S3_SECRET, &text.replace("s3", "sts"), right, now), Err(Refused::Wrong));
    for bad in ["", "zz", &right[..63], "\u{e9}\u{e9}"] {
        assert!(check_text(S3_SECRET, text, bad, now).is_err(), "{bad}");
    }
}

#[test]
fn what_is_no_signature() {
    let good = "AWS4-HMAC-SHA256 Credential=K/20150830/r/s/aws4_request, SignedHeaders=host, Signature=";
    let full = format!("{good}{}", "a".repeat(64));
    assert!(Signature::of_header(&full, "20150830T123600Z").is_some());
    let spoiled = [
        (good.to_string(), "20150830T123600Z"),
        (full.clone(), "20150831T123600Z"),
        (full.clone(), "Sun, 30 Aug 2015 12:36:00 GMT"),
        (full.replace("aws4_request", "aws5_request"), "20150830T123600Z"),
        (full.replace("SignedHeaders=host", "SignedHeaders="), "20150830T123600Z"),
        (full.replace("SignedHeaders=host", "SignedHeaders=Host"), "20150830T123600Z"),
        (full.replace("SignedHeaders=host", "SignedHeaders=host, SignedHeaders=host"), "20150830T123600Z"),
        (full.replace("Credential=K/", "Credential=/"), "20150830T123600Z"),
        (full.replace("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA512 "), "20150830T123600Z"),
        (format!("{full}aa"), "20150830T123600Z"),
        (String::new(), ""),
    ];
    for (text, date) in spoiled {
        assert_eq!(Signature::of_header(&text, date), None, "{text} {date}");
    }
    // The host must be signed: otherwise a request to one service could be shown to another.
    let headers = pairs(&[("x-amz-date", "20150830T123600Z"), ("authorization", &full.replace("=host", "=x-amz-date"))]);
    let message = Message { method: "GET", path: "/", query: &[], headers: &headers, body_hash: EMPTY };
    let signature = Signature::find(&message).expect("readable");
    assert_eq!(signature.check(SECRET, &message, at("20150830T123600Z")), Err(Refused::Malformed));
}
