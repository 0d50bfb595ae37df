//! A data set larger than the memory it is allowed: alone in its process, so that memory can be told.

#![allow(clippy::unwrap_used)]

use mixnn_data::{Batches, Data, Epoch, Pass, Place, Values, WINDOW, idx};
use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;

const SIDE: u32 = 256;
const COUNT: u32 = 8192;

/// The most memory this process has had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// 512 MiB of pictures, each with its number in its first pixels; the rest are a hole in the file.
fn write(folder: &std::path::Path) {
    for (images, labels) in
        [(idx::TRAIN_IMAGES, idx::TRAIN_LABELS), (idx::TEST_IMAGES, idx::TEST_LABELS)]
    {
        let mut file = std::fs::File::create(folder.join(images)).unwrap();
        let header = [0x0803, COUNT, SIDE, SIDE];
        file.write_all(&header.map(u32::to_be_bytes).concat()).unwrap();
        for i in 0..COUNT {
            let at = 16 + u64::from(i) * u64::from(SIDE * SIDE);
            std::os::unix::fs::FileExt::write_all_at(&file, &i.to_le_bytes()[..2], at).unwrap();
        }
        file.set_len(16 + u64::from(COUNT) * u64::from(SIDE * SIDE)).unwrap();
        idx::write_labels(&folder.join(labels), &vec![1; COUNT as usize], false).unwrap();
    }
}

#[test]
fn memory_stays_bounded_and_every_sample_comes_once() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let before = peak();
    let spec = serde_json::from_str(r#"{"idx": {"mean": 0, "std": 1}}"#).unwrap();
    let data = Data::open(&spec, Some(&Place::from(folder.path())), &mut |_| {}).unwrap();
    let epoch = Epoch { number: 1, shuffle_key: [7; 32], augment_key: [0; 32] };
    let pass = Pass { epoch: Some(epoch), batch: 16, least: 1, skip: 0 };
    let mut seen = HashSet::new();
    let sample = (SIDE * SIDE) as usize;
    let mut order = Vec::new();
    for batch in Batches::new(Arc::clone(&data.train), pass) {
        let Values::F32(pixels) = batch.unwrap().samples else { panic!("pictures are f32") };
        for picture in pixels.chunks(sample) {
            let byte = |at: usize| (picture[at] * 255.0).round() as u32;
            let number = byte(0) + 256 * byte(1);
            order.push(number);
            assert!(seen.insert(number), "{number} came twice");
        }
    }
    assert_eq!(seen.len(), COUNT as usize);
    assert!(order.windows(2).filter(|w| w[0] + 1 == w[1]).count() < 100, "not shuffled");
    // Two windows, a few batches of f32, and what the allocator keeps.
    let (bound, used) = (2 * WINDOW + (64 << 20), peak() - before);
    assert!(used < bound, "{used} bytes used; the bound is {bound}, the data are 512 MiB");
}
