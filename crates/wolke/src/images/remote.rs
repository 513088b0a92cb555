//! Images of a service in another process: looked up in the caller's name, fetched in the service's own.

use api_image::{Info, headers};
use base::{Ctx, Error, Result, Scope, err};
use futures_util::StreamExt;
use http::{Client, HeaderValue, Method, Response, StatusCode};
use keystone::remote::Remote;
use resource::BoxFuture;
use std::{sync::Arc, time::Duration};

pub struct RemoteImages {
    client: Client,
    identity: Arc<Remote>,
    region: String,
}

impl RemoteImages {
    pub fn new(client: Client, identity: Arc<Remote>, region: &str) -> RemoteImages {
        RemoteImages { client, identity, region: region.to_string() }
    }

    /// Where the catalogue says that images are; asked each time, so that a service may move.
    async fn url(&self, which: &str) -> Result<String> {
        let at = self.identity.client().endpoint("image", &self.region, "internal").await?;
        Ok(format!("{}/images/{}", at.trim_end_matches('/'), http::path::encode(which)))
    }
}

const MIB: u64 = 1024 * 1024;

fn of(info: Info, status: String) -> region::Image {
    region::Image {
        // A disk is at least as large as the image looks from inside.
        min_disk: info.min_disk.max(info.virtual_size.div_ceil(MIB)).try_into().unwrap_or(i64::MAX),
        min_ram: info.min_ram.try_into().unwrap_or(i64::MAX),
        id: info.id,
        name: info.name,
        status,
        disk_format: info.disk_format,
        size: info.size,
        checksum: info.checksum,
        os_arch: info.os_arch,
        properties: info.properties,
    }
}

impl region::Images for RemoteImages {
    fn find<'a>(&'a self, ctx: &'a Ctx, which: &'a str) -> BoxFuture<'a, Result<region::Image>> {
        Box::pin(async move {
            let call = self.client.call(Method::HEAD, &self.url(which).await?).ctx(ctx).idempotent();
            let answer = call.send_any().await?;
            match answer.status {
                200 => {}
                // An answer to HEAD has no body to say why.
                404 => return Err(err!(ImageNotFound, "{} {} not found", "image", which)),
                401 | 403 => {
                    let ask = resource::Ask { service: api_image::SERVICE, resource: "images", action: "get", extra: &[] };
                    return Err(resource::denied(ctx, &ask, Scope::Project));
                }
                status => {
                    return Err(err!(BadGateway, "{} gave an answer that cannot be read", "the image service")
                        .with_context(format!("status {status}")));
                }
            }
            let map = headers::read(answer.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())))?;
            let status = answer.header("x-image-meta-status").unwrap_or_default().to_string();
            Ok(of(Info::read(&map)?, status))
        })
    }

    fn fetch<'a>(&'a self, id: &'a str, range: Option<&'a str>) -> BoxFuture<'a, Result<Response>> {
        Box::pin(async move {
            let session = self.identity.client().session().await?;
            let mut call = self.client.get(&self.url(id).await?).token(&session.token).deadline(Duration::from_secs(24 * 3600));
            if let Some(range) = range {
                call = call.header("range", range);
            }
            let answer = call.send_any().await?;
            let status = StatusCode::from_u16(answer.status).map_err(Error::internal)?;
            match answer.status {
                200 | 206 | 416 => {}
                404 => return Err(err!(ImageNotFound, "the file of image {} is missing; upload the image again", id)),
                _ => {
                    let body = answer.bytes(1 << 20).await.unwrap_or_default();
                    let told = http::error_body::parse(status.as_u16(), &body);
                    return Err(err!(BadGateway, "{} gave an answer that cannot be read", "the image service").with_context(told));
                }
            }
            let (range, length) = (answer.header("content-range").map(str::to_string), answer.length());
            let kind = HeaderValue::from_static("application/octet-stream");
            let response = Response::stream(kind, length, answer.stream().boxed()).with_status(status);
            Ok(match range {
                Some(range) => response.with_header("content-range", &range),
                None => response,
            })
        })
    }
}
