//! QR codes as SVG, so that a page stays one file.

use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use qrcodegen::{QrCode, QrCodeEcc};

/// The code of a text, `millimetres` wide.
pub(super) fn svg(text: &str, millimetres: u32) -> Result<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium)
        .map_err(|error| anyhow!("{} bytes are too long for a QR code: {error}", text.len()))?;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            write!(path, "M{},{}h1v1h-1z", x + QUIET, y + QUIET)?;
        }
    }
    let side = code.size() + 2 * QUIET;
    Ok(format!(
        r#"<svg class="qr" width="{millimetres}mm" height="{millimetres}mm" viewBox="0 0 {side} {side}" role="img"><path d="{path}"/></svg>"#
    ))
}

/// Modules of white around the code (ISO/IEC 18004 asks for four).
const QUIET: i32 = 4;
