//! How consoles wrap passwords on their way (spec 03 §1.2): base64 of IV and AES-256-CBC under a key everybody knows. It hides a password from
//! a glance at a log, and from nobody else; TLS is what protects it.

use aes::{
    Aes256,
    cipher::{Block, BlockCipherDecrypt, KeyInit},
};
use base64::{Engine, engine::general_purpose::STANDARD};

const BLOCK: usize = 16;
const KEY: &[u8; 32] = b"cloudpods00000000000000000000000";

/// The password behind what a console sent: wrapped, plain base64, or itself.
pub fn open(sent: &str) -> String {
    match STANDARD.decode(sent) {
        Ok(bytes) => unwrap(&bytes).or_else(|| printable(bytes)).unwrap_or_else(|| sent.to_string()),
        Err(_) => sent.to_string(),
    }
}

/// Base64 that decodes to no text was not meant as base64.
fn printable(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok().filter(|t| !t.is_empty() && !t.chars().any(char::is_control))
}

fn unwrap(bytes: &[u8]) -> Option<String> {
    if bytes.len() < 2 * BLOCK || bytes.len() % BLOCK != 0 {
        return None;
    }
    let cipher = Aes256::new(KEY.into());
    let mut out = Vec::with_capacity(bytes.len() - BLOCK);
    for (before, this) in bytes.chunks_exact(BLOCK).zip(bytes.chunks_exact(BLOCK).skip(1)) {
        let mut block = Block::<Aes256>::default();
        block.copy_from_slice(this);
        cipher.decrypt_block(&mut block);
        out.extend(block.iter().zip(before).map(|(a, b)| a ^ b));
    }
    // PKCS#7 (RFC 5652 §6.3). Under a public key a padding oracle gives nothing away.
    let padding = usize::from(*out.last()?);
    let text = out.len().checked_sub(padding)?;
    if !(1..=BLOCK).contains(&padding) || out[text..].iter().any(|b| usize::from(*b) != padding) {
        return None;
    }
    out.truncate(text);
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_consoles_send() {
        // openssl enc -aes-256-cbc -K <hex of the key> -iv 000102…0f, IV put before.
        let wrapped = "AAECAwQFBgcICQoLDA0OD1Kn4rID5aYSKG442R+ak7s=";
        assert_eq!(open(wrapped), "Web@admin123");
        assert_eq!(open("V2ViQGFkbWluMTIz"), "Web@admin123");
        assert_eq!(open("Web@admin123"), "Web@admin123");
        // Valid base64 by accident, of no text.
        assert_eq!(open("password"), "password");
        assert_eq!(open(""), "");
    }
}
