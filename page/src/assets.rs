//! The files of the page, in this binary.

/// One of them.
#[derive(Clone, Copy)]
pub(crate) struct Asset {
    pub(crate) path: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) text: &'static str,
}

const JS: &str = "text/javascript; charset=utf-8";

/// All of them.
pub(crate) const ALL: [Asset; 8] = [
    Asset { path: "/", kind: "text/html; charset=utf-8", text: include_str!("../web/index.html") },
    Asset {
        path: "/page.css",
        kind: "text/css; charset=utf-8",
        text: include_str!("../web/page.css"),
    },
    Asset { path: "/page.js", kind: JS, text: include_str!("../web/page.js") },
    Asset { path: "/record.js", kind: JS, text: include_str!("../web/record.js") },
    Asset { path: "/curves.js", kind: JS, text: include_str!("../web/curves.js") },
    Asset { path: "/sees.js", kind: JS, text: include_str!("../web/sees.js") },
    Asset { path: "/try.js", kind: JS, text: include_str!("../web/try.js") },
    Asset { path: "/timeline.js", kind: JS, text: include_str!("../web/timeline.js") },
];
