//! What SVG pictures and HTML pages have in common.

use std::fmt::Display;

/// Text as it stands in markup.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// How a picture begins: its size in pixels, what it shows in words, its style, and a page behind it, of the
/// class `page`.
pub fn begin_svg(width: impl Display, height: impl Display, title: &str, style: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n<title>{title}</title>\n<style>{style}\n</style>\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n"
    )
}
