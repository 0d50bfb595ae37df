//! Cells and letters over HTTP: links, back-pressure, deadlines.
