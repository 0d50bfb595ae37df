#![no_main]

//! Programs of torch.export: archives as they come, and the JSON of a graph in an archive that is whole.

use mixnn_weights::ProgramFile;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;

/// As `weights/tests/program.rs` has it.
fn read(file: Vec<u8>) {
    let length = file.len();
    let Ok(mut read) = ProgramFile::read(Cursor::new(file)) else { return };
    for op in read.program().layers.iter().flat_map(|layer| &layer.ops) {
        assert!(op.is_object());
    }
    if let Ok(weights) = read.weights() {
        assert!(weights.len() <= (1 << 20) + 4 * length, "more than the file can hold");
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    read(data.to_vec());
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let cut = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    let (graph, config) = (&data[..cut], data.get(cut + 1..).unwrap_or_default());
    for (name, bytes) in [
        ("a/models/model.json", graph),
        ("a/data/weights/model_weights_config.json", config),
        ("a/data/weights/weight_0", &[0; 64]),
    ] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    read(zip.finish().unwrap().into_inner());
});
