//! The image as a row (spec 21 §10.2).

use base::meta::{ProjectOwned, Shared, Standalone, Status};
use base::{Json, Resource};

/// A disk or CD image that servers are made from.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "image", plural = "images", service = "image", level = project)]
pub struct Image {
    #[field(flatten)]
    pub meta: Standalone,
    #[field(flatten)]
    pub status: Status,
    #[field(flatten)]
    pub owned: ProjectOwned,
    #[field(flatten)]
    pub shared: Shared,
    /// Whether deletion is refused until this is cleared.
    // The common guard under the name that image clients send; both words are answered.
    #[field(create, update, filter, alias = "protected", default = "true")]
    pub disable_delete: bool,
    /// Bytes of the stored file.
    pub size: i64,
    /// Bytes of the disk a guest sees; 0 until the image is there.
    #[field(show)]
    pub virtual_size: i64,
    /// Format of the stored file: `qcow2`, `raw`, `vmdk`, `vhd`, `vhdx`, `vdi` or `iso`. A client's word is a hint until the bytes are there.
    #[field(create, filter, alias = "format")]
    pub disk_format: String,
    /// MD5 of the stored file, 32 hex digits.
    #[field(filter)]
    pub checksum: String,
    /// Digest of sampled blocks of the stored file, 32 hex digits.
    #[field(show)]
    pub fast_hash: String,
    /// SHA-256 of the stored file, 64 hex digits.
    #[field(show)]
    pub sha256: String,
    /// Checksum that the source of a copied image gave for it.
    pub oss_checksum: String,
    /// Smallest disk that can hold the image, MiB.
    #[field(create, update)]
    pub min_disk: i64,
    /// Least memory a server made from it needs, MiB.
    #[field(create, update)]
    pub min_ram: i64,
    /// Whether it is one of the platform's standard images, visible to all.
    #[field(filter)]
    pub is_standard: bool,
    /// Whether it is a part of a guest image.
    #[field(filter)]
    pub is_guest_image: bool,
    /// Whether it is a data disk without an operating system.
    #[field(create, filter)]
    pub is_data: bool,
    /// Processor architecture: `x86_64`, `aarch64`, `riscv64`…
    #[field(create, update, filter)]
    pub os_arch: String,
    /// Key that its content is encrypted with.
    pub encrypt_key_id: String,
    /// Empty, `encrypting` or `encrypted`.
    pub encrypt_status: String,
    /// What is known of its operating system: `os_type`, `os_distribution`, `os_version`, `uefi_support`…
    pub properties: Json,
    /// Copy of the property `os_type`, for lists to filter by.
    #[field(hidden)]
    pub os_type: String,
    /// Copy of the property `os_distribution`, for lists to filter by.
    #[field(hidden)]
    pub os_distribution: String,
    /// Copy of the property `uefi_support`, for lists to filter by.
    #[field(hidden)]
    pub uefi_support: bool,
    /// Whether the row came into being with the upload that is filling it, and goes when that breaks off.
    #[field(hidden)]
    pub upload_creates: bool,
}

/// A copy of an image in another format.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "sub_image", plural = "sub_images", service = "image", level = system)]
pub struct SubImage {
    /// Identifier.
    pub id: String,
    /// The image it is a copy of.
    #[field(refers = "image")]
    pub image_id: String,
    /// Format of the copy.
    #[field(filter)]
    pub format: String,
    /// Bytes of the copy.
    pub size: i64,
    /// MD5 of the copy, 32 hex digits.
    pub checksum: String,
    /// Digest of sampled blocks, 32 hex digits.
    pub fast_hash: String,
    /// State: `queued`, `converting`, `active`, `save_fail`.
    pub status: String,
    /// Why the copy could not be made.
    pub reason: String,
    /// When the copy was asked for.
    pub created_at: base::Timestamp,
    /// When it was last changed.
    pub updated_at: base::Timestamp,
    /// Rises by one with every change.
    pub update_version: i64,
}

impl Image {
    /// The state; a word from a newer version reads as none.
    pub fn state(&self) -> Option<crate::Status> {
        crate::Status::parse(&self.status.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_hold_together() {
        let facts = Image::facts();
        for name in ["id", "name", "status", "tenant_id", "is_public", "disable_delete", "properties", "min_disk"] {
            assert!(facts.has(name), "{name}");
        }
        let guard = facts.field("disable_delete").expect("a column");
        assert_eq!((guard.aliases, guard.default), (&["protected"][..], Some("true")));
        for field in &facts.fields {
            assert!(!field.doc.is_empty(), "{} is not documented", field.name);
        }
    }
}
