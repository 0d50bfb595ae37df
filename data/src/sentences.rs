//! Generated sentences about four topics, for models of text: nothing to download.
//!
//! "the old ship sails to the harbour ." Nouns, verbs and places are mostly of the sentence's topic,
//! adjectives and prepositions of none. To tell the topic, a model has to weigh several words; to tell
//! the next word, it has to know word order and remember the topic.

use crate::Split;
use crate::chance::Chance;

/// What sentences are about.
pub const TOPIC_NAMES: [&str; TOPICS] = ["sea", "kitchen", "forest", "music"];
/// How many topics there are.
pub const TOPICS: usize = 4;
/// The token that fills up a sample.
pub const PADDING: u32 = 0;
/// All words; a token is a place in this list.
pub const WORDS: [&str; 69] = [
    "<pad>",
    ".",
    "the",
    "a",
    "and", // 0..5
    "old",
    "new",
    "small",
    "quiet",
    "strange",
    "bright",
    "heavy",
    "lost", // 5..13: adjectives
    "to",
    "from",
    "near",
    "behind", // 13..17: prepositions
    "ship",
    "sailor",
    "anchor",
    "wave",
    "whale",
    "captain",
    "sail", // nouns, verbs, places: 13 a topic
    "sails",
    "sinks",
    "drifts",
    "steers",
    "harbour",
    "island", //
    "cook",
    "soup",
    "kettle",
    "knife",
    "bread",
    "onion",
    "spoon", //
    "boils",
    "bakes",
    "tastes",
    "stirs",
    "oven",
    "table", //
    "fox",
    "oak",
    "hunter",
    "mushroom",
    "owl",
    "moss",
    "deer", //
    "hides",
    "grows",
    "hunts",
    "sleeps",
    "clearing",
    "river", //
    "violin",
    "singer",
    "drum",
    "song",
    "piano",
    "choir",
    "flute", //
    "plays",
    "sings",
    "echoes",
    "rehearses",
    "stage",
    "hall", //
];
/// How many words there are.
pub const VOCABULARY: usize = WORDS.len();

const ADJECTIVES: (u32, u32) = (5, 8);
const PREPOSITIONS: (u32, u32) = (13, 4);
const FIRST_TOPIC: u32 = 17;
const PER_TOPIC: u32 = 13;
/// Within a topic.
const NOUNS: (u32, u32) = (0, 7);
const VERBS: (u32, u32) = (7, 4);
const PLACES: (u32, u32) = (11, 2);

/// Sentences with their topics, filled up to `length` tokens each.
///
/// Sample `i` depends on seed, split and `i` alone.
pub fn topics(seed: u64, split: Split, n: usize, length: usize) -> (Vec<u32>, Vec<u32>) {
    let (mut tokens, mut labels) = (Vec::with_capacity(n * length), Vec::with_capacity(n));
    for i in 0..n {
        let mut author = Author::new(seed, split, i as u64);
        let topic = author.below(TOPICS as u32);
        let mut text = Vec::with_capacity(length);
        author.sentence(topic, &mut text);
        text.resize(length, PADDING);
        tokens.extend(text);
        labels.push(topic);
    }
    (tokens, labels)
}

/// Running text of one topic a sample, and the same one token on: what is to be told.
///
/// Sample `i` depends on seed, split and `i` alone.
pub fn running(seed: u64, split: Split, n: usize, length: usize) -> (Vec<u32>, Vec<u32>) {
    let (mut tokens, mut next) = (Vec::with_capacity(n * length), Vec::with_capacity(n * length));
    for i in 0..n {
        let mut author = Author::new(seed, split, i as u64);
        let topic = author.below(TOPICS as u32);
        let mut text = Vec::with_capacity(length + 16);
        while text.len() <= length {
            author.sentence(topic, &mut text);
        }
        tokens.extend_from_slice(&text[..length]);
        next.extend_from_slice(&text[1..=length]);
    }
    (tokens, next)
}

/// Writes sentences.
struct Author(Chance);

impl Author {
    fn new(seed: u64, split: Split, i: u64) -> Self {
        Self(Chance::new("sentences", seed, split, i))
    }

    fn below(&mut self, n: u32) -> u32 {
        self.0.below(n as usize) as u32
    }

    fn one_of(&mut self, (first, count): (u32, u32)) -> u32 {
        first + self.below(count)
    }

    /// A word of the topic, or once in six of any.
    fn of(&mut self, topic: u32, kind: (u32, u32)) -> u32 {
        let topic = if self.below(6) == 0 { self.below(TOPICS as u32) } else { topic };
        FIRST_TOPIC + topic * PER_TOPIC + self.one_of(kind)
    }

    /// `the [adjective] noun`
    fn thing(&mut self, topic: u32, kind: (u32, u32), out: &mut Vec<u32>) {
        out.push(2 + self.below(2));
        if self.below(2) == 0 {
            out.push(self.one_of(ADJECTIVES));
        }
        out.push(self.of(topic, kind));
    }

    /// `thing [and thing] verb preposition place .`
    fn sentence(&mut self, topic: u32, out: &mut Vec<u32>) {
        self.thing(topic, NOUNS, out);
        if self.below(4) == 0 {
            out.push(4);
            self.thing(topic, NOUNS, out);
        }
        out.push(self.of(topic, VERBS));
        out.push(self.one_of(PREPOSITIONS));
        self.thing(topic, PLACES, out);
        out.push(1);
    }
}

/// The longest sentence: two things of three words, "and", verb, preposition, place of three, full stop.
pub const LONGEST: usize = 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_depend_on_seed_split_and_place_alone() {
        let some = topics(1, Split::Train, 50, 16);
        let more = topics(1, Split::Train, 51, 16);
        assert_eq!(more.0[..50 * 16], some.0);
        assert_ne!(topics(1, Split::Test, 50, 16), some);
        assert!(some.0.iter().all(|&t| (t as usize) < VOCABULARY));
    }

    #[test]
    fn what_is_to_be_told_is_the_next_token() {
        let (tokens, next) = running(1, Split::Train, 3, 20);
        for (tokens, next) in tokens.chunks(20).zip(next.chunks(20)) {
            assert_eq!(tokens[1..], next[..19]);
            assert!(!next.contains(&PADDING));
        }
    }

    #[test]
    fn a_sentence_reads_as_one() {
        let (tokens, _) = topics(7, Split::Train, 1, 16);
        let text: Vec<&str> = tokens.iter().map(|&t| WORDS[t as usize]).collect();
        assert!(["the", "a"].contains(&text[0]) && text.contains(&"."), "{text:?}");
    }
}
