//! The image cache of a storage: one download per image however many disks wait for it, resumed where it broke off, verified before it gets
//! its final name. What has its final name is whole.

use super::Progress;
use super::local::{blocking, full, refused};
use crate::files::{remove, safe_name, sync_dir};
use api_agent::ImageSpec;
use base::{Result, err};
use bytes::Bytes;
use diskimage::Format;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use host_net::BoxFuture;
use md5::{Digest, Md5};
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncWriteExt;

/// Where images come from.
pub trait Fetch: Send + Sync {
    /// The bytes of a file from `from` on. A source that cannot begin there begins at 0 and says so.
    fn get<'a>(&'a self, url: &'a str, from: u64) -> BoxFuture<'a, Result<Fetched>>;
}

/// Bytes on their way.
pub struct Fetched {
    /// Where in the file the body begins.
    pub from: u64,
    pub body: BoxStream<'static, Result<Bytes>>,
}

pub(super) struct ImageCache {
    source: Arc<dyn Fetch>,
    /// Who downloads holds the lock of its final path; the others wait and find it done.
    flights: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
}

impl ImageCache {
    pub fn new(source: Arc<dyn Fetch>) -> ImageCache {
        ImageCache { source, flights: Mutex::default() }
    }

    pub fn path(storage: &Path, image: &ImageSpec) -> Result<PathBuf> {
        safe_name(&image.id)?;
        Ok(storage.join("imagecache").join(&image.id))
    }

    pub async fn fetch(&self, storage: &Path, image: &ImageSpec, progress: Progress<'_>) -> Result<()> {
        let path = ImageCache::path(storage, image)?;
        let flight = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            flights.retain(|_, f| Arc::strong_count(f) > 1);
            flights.entry(path.clone()).or_default().clone()
        };
        let _mine = flight.lock().await;
        if path.exists() {
            return Ok(());
        }
        let temp = path.with_file_name(format!(".{}.part", image.id));
        let dir = storage.join("imagecache");
        tokio::fs::create_dir_all(&dir).await.map_err(|e| refused(&dir, &e))?;
        // What can be tried again goes on from what has come; the rest only takes room.
        let forget = |e: &base::Error| drop((!e.retryable()).then(|| remove(&temp)));
        let resumed = self.download(image, &temp, progress).await.inspect_err(forget)?;
        if let Err(e) = verify(image, &temp).await {
            let _ = remove(&temp);
            // The image may have been replaced between the two halves: once more, whole.
            if !resumed {
                return Err(e);
            }
            self.download(image, &temp, progress).await.inspect_err(forget)?;
            verify(image, &temp).await.inspect_err(|_| drop(remove(&temp)))?;
        }
        let (from, to) = (temp, path.clone());
        let kept = blocking(move || {
            std::fs::File::open(&from)?.sync_all()?;
            std::fs::rename(&from, &to)?;
            sync_dir(&to)
        });
        kept.await.map_err(|e| refused(&path, &e))
    }

    /// Appends to `temp` until the image's size is reached. Tells whether something was there before.
    async fn download(&self, image: &ImageSpec, temp: &Path, progress: Progress<'_>) -> Result<bool> {
        let mut have = tokio::fs::metadata(temp).await.map_or(0, |m| m.len());
        if have > image.size {
            remove(temp).map_err(|e| refused(temp, &e))?;
            have = 0;
        }
        room(image, temp, image.size - have)?;
        let resumed = have > 0;
        if have == image.size && image.size > 0 {
            return Ok(resumed);
        }
        let mut fetched = self.source.get(&image.url, have).await?;
        if fetched.from > have {
            return Err(err!(BadGateway, "image {} cannot be resumed", image.id).with_context(format!("{} after {have}", fetched.from)));
        }
        let mut options = tokio::fs::OpenOptions::new();
        let file = options.create(true).write(true).truncate(false).open(temp).await.map_err(|e| refused(temp, &e))?;
        file.set_len(fetched.from).await.map_err(|e| refused(temp, &e))?;
        let mut file = tokio::io::BufWriter::with_capacity(1 << 20, file);
        tokio::io::AsyncSeekExt::seek(&mut file, std::io::SeekFrom::Start(fetched.from)).await.map_err(|e| refused(temp, &e))?;
        have = fetched.from;
        let mut broken = None;
        while let Some(piece) = fetched.body.next().await {
            match piece {
                Ok(piece) => {
                    have += piece.len() as u64;
                    if image.size > 0 && have > image.size {
                        return Err(err!(InvalidFormat, "image {} is longer than the {} bytes it should have", image.id, image.size));
                    }
                    file.write_all(&piece).await.map_err(|e| refused(temp, &e))?;
                    progress(have, image.size);
                }
                Err(e) => {
                    broken = Some(e);
                    break;
                }
            }
        }
        // What came is kept for the next try, whatever broke.
        file.flush().await.map_err(|e| refused(temp, &e))?;
        match broken {
            Some(e) => Err(e),
            None if have < image.size => Err(err!(BadGateway, "image {} ended after {} of {} bytes", image.id, have, image.size)),
            None => Ok(resumed && fetched.from > 0),
        }
    }
}

/// Refuses before gigabytes have come what cannot fit.
fn room(image: &ImageSpec, temp: &Path, wanted: u64) -> Result<()> {
    let dir = temp.parent().unwrap_or(temp);
    if let Some(full) = full(dir) {
        return Err(full);
    }
    let Ok(stat) = rustix::fs::statvfs(dir) else { return Ok(()) };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < wanted {
        let (needs, has) = (wanted.div_ceil(1 << 20), free >> 20);
        return Err(err!(OutOfResource, "image {} needs {} MiB but the storage at {} has {}", image.id, needs, dir.display(), has));
    }
    Ok(())
}

/// Size, checksum, and that the file is of the format it should be and points at no other file.
async fn verify(image: &ImageSpec, temp: &Path) -> Result<()> {
    let wanted = Format::parse(&image.format).unwrap_or(Format::Qcow2);
    let file = temp.to_path_buf();
    let checksum = !image.checksum.is_empty();
    let (size, sum, found) = blocking(move || {
        let file = std::fs::File::open(&file)?;
        let sum = if checksum { md5(&file)? } else { String::new() };
        // Raw bytes are only ever opened as raw bytes, whatever they look like.
        let found = if matches!(wanted, Format::Raw | Format::Iso) { Ok(wanted) } else { diskimage::inspect(&file).map(|f| f.format) };
        Ok((file.metadata()?.len(), sum, found))
    })
    .await
    .map_err(|e| refused(temp, &e))?;
    if image.size > 0 && size != image.size {
        return Err(err!(InvalidFormat, "image {} has {} bytes, not the {} it should have", image.id, size, image.size));
    }
    if checksum && !sum.eq_ignore_ascii_case(&image.checksum) {
        return Err(err!(InvalidFormat, "image {} arrived with checksum {}, not {}", image.id, sum, image.checksum));
    }
    match found {
        Ok(format) if format == wanted => Ok(()),
        Ok(format) => Err(err!(InvalidFormat, "image {} is of format {}, not {}", image.id, format, wanted)),
        Err(why) => Err(err!(InvalidFormat, "image {} cannot be used: {}", image.id, why)),
    }
}

fn md5(mut file: &std::fs::File) -> std::io::Result<String> {
    let mut hash = Md5::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex::encode(hash.finalize())),
            n => hash.update(&piece[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

    /// Serves bytes, breaks off after so many, with or without ranges.
    struct Source {
        bytes: Vec<u8>,
        breaks_after: AtomicUsize,
        ranges: bool,
        asked: AtomicU32,
    }

    impl Fetch for Source {
        fn get<'a>(&'a self, _url: &'a str, from: u64) -> BoxFuture<'a, Result<Fetched>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let from = if self.ranges { from } else { 0 };
            let rest = &self.bytes[from as usize..];
            let whole = rest.len() <= self.breaks_after.load(Ordering::SeqCst);
            let cut = rest.len().min(self.breaks_after.swap(usize::MAX, Ordering::SeqCst));
            let mut pieces: Vec<Result<Bytes>> = rest[..cut].chunks(1000).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
            if !whole {
                pieces.push(Err(err!(BadGateway, "broken")));
            }
            Box::pin(async move { Ok(Fetched { from, body: futures_util::stream::iter(pieces).boxed() }) })
        }
    }

    fn source(bytes: &[u8], breaks_after: usize, ranges: bool) -> Arc<Source> {
        Arc::new(Source { bytes: bytes.to_vec(), breaks_after: AtomicUsize::new(breaks_after), ranges, asked: AtomicU32::new(0) })
    }

    fn image(bytes: &[u8]) -> ImageSpec {
        ImageSpec {
            id: "img".into(),
            format: "raw".into(),
            size: bytes.len() as u64,
            checksum: hex::encode(Md5::digest(bytes)),
            url: "/x".into(),
        }
    }

    fn content() -> Vec<u8> {
        (0..100_000u32).map(|i| (i % 251) as u8).collect()
    }

    #[tokio::test]
    async fn many_waiters_one_download() {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, seen) = (content(), AtomicU32::new(0));
        let source = source(&bytes, usize::MAX, true);
        let cache = ImageCache::new(source.clone());
        let image = image(&bytes);
        let progress = |done: u64, of: u64| {
            assert!(done <= of);
            seen.fetch_add(1, Ordering::SeqCst);
        };
        let all = (0..8).map(|_| cache.fetch(dir.path(), &image, &progress));
        for r in futures_util::future::join_all(all).await {
            r.unwrap();
        }
        assert_eq!(source.asked.load(Ordering::SeqCst), 1);
        assert!(seen.load(Ordering::SeqCst) > 50);
        assert_eq!(std::fs::read(dir.path().join("imagecache/img")).unwrap(), bytes);
    }

    #[tokio::test]
    async fn goes_on_where_it_broke_off() {
        for ranges in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let bytes = content();
            let source = source(&bytes, 30_000, ranges);
            let cache = ImageCache::new(source.clone());
            let first = cache.fetch(dir.path(), &image(&bytes), &|_, _| {}).await.unwrap_err();
            assert!(first.retryable(), "{first}");
            assert_eq!(std::fs::metadata(dir.path().join("imagecache/.img.part")).unwrap().len(), 30_000);
            cache.fetch(dir.path(), &image(&bytes), &|_, _| {}).await.unwrap();
            assert_eq!(std::fs::read(dir.path().join("imagecache/img")).unwrap(), bytes);
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_together_is_fetched_whole() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = content();
        std::fs::create_dir_all(dir.path().join("imagecache")).unwrap();
        std::fs::write(dir.path().join("imagecache/.img.part"), vec![7; 5000]).unwrap();
        let source = source(&bytes, usize::MAX, true);
        ImageCache::new(source.clone()).fetch(dir.path(), &image(&bytes), &|_, _| {}).await.unwrap();
        assert_eq!(source.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_wrong_image_never_gets_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = content();
        let good = image(&bytes);
        for (bad, says) in [
            (ImageSpec { checksum: "0".repeat(32), ..good.clone() }, "checksum"),
            (ImageSpec { size: 99_999, ..good.clone() }, "longer"),
            (ImageSpec { format: "qcow2".into(), ..good.clone() }, "format raw"),
        ] {
            let e = ImageCache::new(source(&bytes, usize::MAX, true)).fetch(dir.path(), &bad, &|_, _| {}).await.unwrap_err();
            assert!(e.to_string().contains(says) && !e.retryable(), "{e}");
            assert!(!dir.path().join("imagecache/img").exists());
            assert!(!dir.path().join("imagecache/.img.part").exists());
        }
        let short = ImageSpec { size: 100_001, ..good };
        let e = ImageCache::new(source(&bytes, usize::MAX, true)).fetch(dir.path(), &short, &|_, _| {}).await.unwrap_err();
        assert!(e.retryable() && e.to_string().contains("ended after"), "{e}");
    }
}
