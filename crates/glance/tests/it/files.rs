//! The image store alone.
