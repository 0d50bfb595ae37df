//! The longest way through a step: from what was done last back to its inputs, always to what was waited for.

use mixnn_events::{Doing, Row, Span, Times};

/// What the longest way is made of, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Way {
    /// Passes, losses, optimizer, batches.
    pub(super) compute: f64,
    /// Sealing before a message leaves.
    pub(super) seal: f64,
    /// From the last cell's sealing to its opening on the other side: relays, links, opening.
    pub(super) wire: f64,
    /// Ready, but another micro-batch or process had the processor.
    pub(super) wait: f64,
}

impl Way {
    pub(super) fn sum(&self) -> f64 {
        self.compute + self.seal + self.wire + self.wait
    }
}

/// The longest way through a step, if all that lies on it is known.
pub(super) fn longest(times: &Times) -> Option<Way> {
    let ends = |row: &Row| last(row, |span| span.doing == Doing::Apply);
    let applied = times.rows.iter().enumerate().filter_map(|(i, row)| Some((i, ends(row)?)));
    let (mut row, mut span) = applied.max_by(|(_, a), (_, b)| end(a).total_cmp(&end(b)))?;
    let mut way = Way { compute: span.took, ..Way::default() };
    // Each turn goes back in what was done, of which there is no more than this.
    for _ in 0..times.rows.iter().map(|row| row.spans.len()).sum() {
        let before = |other: &Span| other.doing.is_computing() && end(other) <= span.at;
        let own = last(&times.rows[row], before);
        let came =
            arrival(span.doing).and_then(|doing| find(&times.rows[row], doing, span.micro_batch));
        span = match (own, came) {
            (Some(own), came) if came.is_none_or(|came| end(&came) <= end(&own)) => {
                way.wait += span.at - end(&own);
                own
            }
            (_, Some(came)) => {
                let (from, sent) = sender(times, row, &came)?;
                let made = maker(&times.rows[from], &sent)?;
                way.wait += (span.at - end(&came)).max(0.0) + (sent.at - end(&made)).max(0.0);
                way.wire += end(&came) - end(&sent);
                way.seal += sent.took;
                row = from;
                made
            }
            (None | Some(_), None) => return Some(way),
        };
        way.compute += span.took;
    }
    Some(way)
}

fn end(span: &Span) -> f64 {
    span.at + span.took
}

fn last(row: &Row, is_one: impl Fn(&Span) -> bool) -> Option<Span> {
    row.spans.iter().filter(|span| is_one(span)).copied().max_by(|a, b| end(a).total_cmp(&end(b)))
}

pub(super) fn find(row: &Row, doing: Doing, micro_batch: u32) -> Option<Span> {
    let is_one = |span: &&Span| span.doing == doing && span.micro_batch == micro_batch;
    row.spans.iter().find(is_one).copied()
}

/// What has to come before something can be done.
const fn arrival(doing: Doing) -> Option<Doing> {
    match doing {
        // Losses are the designer's, of outputs.
        Doing::Forward | Doing::Loss => Some(Doing::ForwardCame),
        Doing::Backward => Some(Doing::BackwardCame),
        _ => None,
    }
}

/// Who sent what came to a row, and the sealing of it.
pub(super) fn sender(times: &Times, row: usize, came: &Span) -> Option<(usize, Span)> {
    let rows = times.rows.len();
    let (from, sealed) = match came.doing {
        Doing::ForwardCame => ((row + rows - 1) % rows, Doing::ForwardSealed),
        _ => ((row + 1) % rows, Doing::BackwardSealed),
    };
    find(&times.rows[from], sealed, came.micro_batch).map(|sent| (from, sent))
}

/// What made a message.
fn maker(row: &Row, sent: &Span) -> Option<Span> {
    let made = match sent.doing {
        Doing::ForwardSealed => find(row, Doing::Forward, sent.micro_batch),
        _ => find(row, Doing::Backward, sent.micro_batch)
            .or_else(|| find(row, Doing::Loss, sent.micro_batch)),
    };
    // The designer's inputs of several micro-batches are one span.
    let inputs = || last(row, |span| span.doing == Doing::Inputs && span.at <= sent.at);
    made.or_else(inputs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn row(spans: &[(Doing, f64, f64)]) -> Row {
        let span =
            |&(doing, at, took): &(Doing, f64, f64)| Span { doing, micro_batch: 0, at, took };
        Row { spans: spans.iter().map(span).collect(), ..Row::default() }
    }

    #[test]
    fn the_longest_way_goes_through_what_was_waited_for() {
        let designer = row(&[
            (Doing::Inputs, 0.0, 1.0),
            (Doing::ForwardSealed, 1.5, 0.5),
            (Doing::ForwardCame, 7.0, 0.5),
            (Doing::Loss, 8.0, 1.0),
            (Doing::BackwardSealed, 9.0, 0.5),
        ]);
        let layer = row(&[
            (Doing::ForwardCame, 2.5, 0.5),
            (Doing::Forward, 3.0, 2.0),
            (Doing::ForwardSealed, 5.0, 1.0),
            (Doing::BackwardCame, 10.0, 1.0),
            (Doing::Backward, 11.0, 3.0),
            (Doing::Apply, 14.0, 1.0),
        ]);
        let times = Times { step: 1, begun: 0.0, rows: vec![designer, layer] };
        let way = longest(&times).unwrap();
        assert_eq!(way, Way { compute: 8.0, seal: 2.0, wire: 4.0, wait: 1.0 });
        assert!((way.sum() - 15.0).abs() < 1e-9, "from the first input to the last step");
    }
}
