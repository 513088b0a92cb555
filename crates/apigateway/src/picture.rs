//! Pictures as PNG (ISO/IEC 15948): in shades of grey, not compressed — they are a few kilobytes, shown once. And QR codes as such pictures.

use base::{Error, Result};
use qrcodegen::{QrCode, QrCodeEcc};

/// Pixels of a module, and modules of white around.
const SCALE: usize = 6;
const QUIET: usize = 4;

/// The picture of a text.
pub fn of(text: &str) -> Result<Vec<u8>> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).map_err(|e| Error::internal(format!("{e:?}")))?;
    let modules = code.size() as usize;
    let side = (modules + 2 * QUIET) * SCALE;
    let dark = |pixel: usize| (pixel / SCALE).checked_sub(QUIET).filter(|m| *m < modules);
    let mut raw = Vec::with_capacity(side * (side / 8 + 2));
    for y in 0..side {
        raw.push(0);
        let mut line = vec![0xff_u8; side.div_ceil(8)];
        for x in 0..side {
            if let (Some(mx), Some(my)) = (dark(x), dark(y))
                && code.get_module(mx as i32, my as i32)
            {
                line[x / 8] &= !(0x80 >> (x % 8));
            }
        }
        raw.extend(line);
    }
    Ok(png(side, side, 1, &raw))
}

/// The file of a grey picture; `raw` has a byte of nought before each line, and `bits` a pixel.
pub fn png(width: usize, height: usize, bits: u8, raw: &[u8]) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let (width, height) = ((width as u32).to_be_bytes(), (height as u32).to_be_bytes());
    chunk(&mut png, b"IHDR", &[&width[..], &height, &[bits, 0, 0, 0, 0]].concat());
    chunk(&mut png, b"IDAT", &stored(raw));
    chunk(&mut png, b"IEND", &[]);
    png
}

/// A zlib stream (RFC 1950) of stored blocks (RFC 1951 §3.2.4).
fn stored(raw: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = raw.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    let (mut a, mut b) = (1u32, 0u32);
    for byte in raw {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    out.extend((b << 16 | a).to_be_bytes());
    out
}

fn chunk(png: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    png.extend((data.len() as u32).to_be_bytes());
    let from = png.len();
    png.extend(kind);
    png.extend(data);
    let mut crc = !0u32;
    for byte in &png[from..] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    png.extend((!crc).to_be_bytes());
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_picture_other_programs_read() {
        let png = super::of("otpauth://totp/Wolke:ann?secret=ABCDEFGHIJ&issuer=Wolke").expect("a picture");
        assert!(png.starts_with(b"\x89PNG") && png.len() < 16_384, "{} bytes", png.len());
        // The check sum of the empty last chunk is known by everybody.
        assert_eq!(&png[png.len() - 8..], b"IEND\xae\x42\x60\x82");
    }
}
