//! Numbers as a line of blocks.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const WIDTH: u64 = 24;

/// The least number is the lowest block. Empty for fewer than two numbers: one is no curve.
pub fn line(numbers: &[f64]) -> String {
    if numbers.len() < 2 || numbers.iter().any(|n| !n.is_finite()) {
        return String::new();
    }
    let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    numbers.iter().map(|n| block(*n, low, high)).collect()
}

/// A number between the least and the greatest as a block; the lowest where all are equal.
pub fn block(number: f64, low: f64, high: f64) -> char {
    let top = (BLOCKS.len() - 1) as f64;
    let share = if high > low { (number - low) / (high - low) } else { 0.0 };
    BLOCKS[(share * top).round().clamp(0.0, top) as usize]
}

/// How much of a whole is done.
pub fn bar(done: u64, total: u64) -> String {
    let full = (WIDTH * done.min(total)).checked_div(total).unwrap_or(0);
    let part = |block: &str, width: u64| block.repeat(width as usize);
    format!("{}{}", part("█", full), part("░", WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_bars() {
        assert_eq!(line(&[3.0, 2.0, 1.0, 0.0]), "█▆▃▁");
        assert_eq!(line(&[1.0, 1.0]), "▁▁");
        assert_eq!(line(&[1.0]), "");
        assert_eq!(line(&[1.0, f64::NAN]), "");
        assert_eq!(bar(0, 0), "░".repeat(24));
        assert_eq!(bar(1, 2), format!("{}{}", "█".repeat(12), "░".repeat(12)));
        assert_eq!(bar(9, 2), "█".repeat(24));
    }
}
