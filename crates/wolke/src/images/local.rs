//! The image service as the region sees it, in the same process.

use api_image::Image;
use base::{Ctx, Json, Resource, Result, err};
use glance::{
    Glance,
    files::{Range, blocking, select, stream},
};
use http::{Response, StatusCode};
use resource::BoxFuture;
use std::sync::Arc;

const MIB: i64 = 1024 * 1024;

pub struct LocalImages(pub Arc<Glance>);

impl region::Images for LocalImages {
    fn find<'a>(&'a self, ctx: &'a Ctx, which: &'a str) -> BoxFuture<'a, Result<region::Image>> {
        Box::pin(async move {
            let row = self.0.engine().resolve(ctx, "image", which).await?;
            let image = Image::from_row(&row);
            let properties = match &image.properties {
                Json::Object(map) => {
                    map.iter().map(|(k, v)| (k.clone(), v.as_str().map_or_else(|| v.to_string(), str::to_string))).collect()
                }
                _ => Default::default(),
            };
            // A disk is at least as large as the image looks from inside.
            let virtual_mb = image.virtual_size.max(0).saturating_add(MIB - 1) / MIB;
            Ok(region::Image {
                id: row.id().to_string(),
                name: row.name().to_string(),
                status: row.text("status").to_string(),
                disk_format: image.disk_format,
                size: image.size.max(0) as u64,
                checksum: image.checksum,
                min_disk: image.min_disk.max(virtual_mb),
                min_ram: image.min_ram,
                os_arch: image.os_arch,
                properties,
            })
        })
    }

    fn fetch<'a>(&'a self, id: &'a str, range: Option<&'a str>) -> BoxFuture<'a, Result<Response>> {
        Box::pin(async move {
            let (files, name) = (self.0.files().clone(), id.to_string());
            let found = blocking(move || files.read(&name)).await?;
            let (file, size) = found.ok_or_else(|| err!(ImageNotFound, "the file of image {} is missing; upload the image again", id))?;
            let kind = http::HeaderValue::from_static("application/octet-stream");
            Ok(match select(range, size) {
                Range::Whole => Response::stream(kind, Some(size), stream(file, 0, size, ())),
                Range::Part { start, length } => Response::stream(kind, Some(length), stream(file, start, length, ()))
                    .with_status(StatusCode::PARTIAL_CONTENT)
                    .with_header("content-range", &format!("bytes {start}-{}/{size}", start + length - 1)),
                Range::Nowhere => Response::new(StatusCode::RANGE_NOT_SATISFIABLE).with_header("content-range", &format!("bytes */{size}")),
            })
        })
    }
}
