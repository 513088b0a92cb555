//! The image service.
pub mod files;
