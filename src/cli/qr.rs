//! QR codes as SVG, so that a page stays one file.

use std::fmt::Write as _;

use anyhow::Result;
use qrcodegen::{QrCode, QrCodeEcc};

use super::exit::Problem;

/// The code of a short text, `millimetres` wide, readable when a part of it is dirty.
pub(crate) fn svg(text: &str, millimetres: u32) -> Result<String> {
    draw(text, millimetres, QrCodeEcc::Medium)
}

/// The code of as much text as fits (2,953 bytes).
pub(crate) fn dense(text: &str, millimetres: u32) -> Result<String> {
    draw(text, millimetres, QrCodeEcc::Low)
}

fn draw(text: &str, millimetres: u32, ecc: QrCodeEcc) -> Result<String> {
    let code = QrCode::encode_text(text, ecc).map_err(|_| {
        let message = format!("{} bytes are too long for a QR code: carry the file", text.len());
        Problem::refused("TOO_LONG_FOR_QR", message)
    })?;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            write!(path, "M{},{}h1v1h-1z", x + QUIET, y + QUIET)?;
        }
    }
    let side = code.size() + 2 * QUIET;
    Ok(format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" class="qr" width="{millimetres}mm" height="{millimetres}mm" viewBox="0 0 {side} {side}" role="img"><path d="{path}"/></svg>"#
    ))
}

/// Modules of white around the code (ISO/IEC 18004 asks for four).
const QUIET: i32 = 4;
