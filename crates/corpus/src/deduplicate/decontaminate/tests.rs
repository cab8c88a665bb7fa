use std::collections::HashSet;

use super::super::arithmetic::Draws;
use super::*;

fn index(words: usize, shortest: usize, sets: &[(&str, &str)]) -> ContaminationIndex {
    let mut index = ContaminationIndex::new(ContaminationOptions { words, shortest }).unwrap();
    for (name, text) in sets {
        let set = index.set(name).unwrap();
        index.add(set, text);
    }
    index
}

fn sets(index: &ContaminationIndex, text: &str) -> Vec<String> {
    index.check(text).sets().map(|set| index.names()[set].clone()).collect()
}

const QUESTION: &str = "If three trains leave the station at noon, and each goes 60 miles an hour, when do they meet?";

#[test]
fn thirteen_words_in_a_row_give_a_document_away() {
    let index = index(13, 8, &[("math", QUESTION)]);
    let text = "Once: IF THREE trains\nleave the “station” at noon -- and each goes 60 miles, they say";
    let found = index.check(text);
    assert_eq!(found.matches.len(), 1);
    assert_eq!(found.matches[0].text, "IF THREE trains\nleave the “station” at noon -- and each goes 60 miles");
    assert_eq!(&text[found.matches[0].bytes.clone()], found.matches[0].text);
    assert!(index.check("three trains leave the station at noon and each goes 60 miles, they say").is_clean());
    assert_eq!(found.exact().count(), 0);
    assert_eq!(index.check(&QUESTION.to_uppercase()).exact().collect::<Vec<_>>(), [0]);
}

#[test]
fn sets_are_named_and_counted() {
    let shared = "a b c d e f g h";
    let index =
        index(5, 3, &[("one", shared), ("two", shared), ("two", "x y z"), ("three", "never said by any of them")]);
    assert_eq!(sets(&index, "… c d e f g …"), ["one", "two"]);
    assert_eq!(sets(&index, "x y z a b c d"), ["two"]);
    let mut counts = ContaminationCounts::default();
    let mut other = ContaminationCounts::default();
    counts.add(&index.check("b c d e f, x y z, a b c d e"));
    counts.add(&index.check("nothing"));
    other.add(&index.check("X, Y, Z"));
    counts.merge(&other);
    assert_eq!((counts.documents, counts.contaminated), (3, 2));
    assert_eq!(counts.sets[0], SetCounts { documents: 1, exact: 0, matches: 2, bytes: 18 });
    assert_eq!(counts.sets[1], SetCounts { documents: 2, exact: 1, matches: 4, bytes: 18 + 5 + 7 });
    assert_eq!(counts.sets.len(), 2);
}

#[test]
fn short_questions_match_as_a_whole() {
    let index = index(13, 4, &[("short", "What is the capital of France?"), ("tiny", "Why not?")]);
    assert_eq!(sets(&index, "And what is the capital of France called?"), ["short"]);
    assert!(sets(&index, "And what is the capital of Spain?").is_empty());
    assert!(sets(&index, "I asked why not.").is_empty());
    assert_eq!(sets(&index, " why NOT"), ["tiny"]);
    assert_eq!(index.check("« why NOT »").matches[0].text, "why NOT");
}

#[test]
fn chinese_runs_are_of_characters() {
    let index = index(13, 8, &[("诗", "床前明月光,疑是地上霜。举头望明月,低头思故乡。")]);
    let found = index.check("诗曰:“前明月光 疑是地上霜 举头望明”云云");
    assert_eq!(found.matches[0].text, "前明月光 疑是地上霜 举头望明");
    assert!(index.check("前明月光疑是地上霜,举头望").is_clean());
    // Mixed with words of other scripts, which count as one each.
    let mixed = self::index(5, 5, &[("mixed", "用 Python 写代码")]);
    assert_eq!(sets(&mixed, "请用python写代码!"), ["mixed"]);
}

#[test]
fn equal_to_a_plain_search() {
    let mut draws = Draws::new(4);
    let mut words =
        |count: u64, of: u64| -> Vec<String> { (0..count).map(|_| format!("w{}", draws.draw() % of)).collect() };
    for (length, of) in [(1, 40), (2, 8), (3, 6), (13, 2)] {
        let questions: Vec<Vec<String>> = (0..6).map(|number| words(number * 5 + 1, of)).collect();
        let texts: Vec<(&str, String)> = questions.iter().map(|words| ("set", words.join(" "))).collect();
        let index = index(length, 2, &texts.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>());
        let runs: HashSet<&[String]> = questions
            .iter()
            .flat_map(|words| words.windows(if words.len() < length { words.len() } else { length }))
            .filter(|run| run.len() >= length.min(2))
            .collect();
        for _ in 0..200 {
            let document = words(30, of);
            let lengths: HashSet<usize> = runs.iter().map(|run| run.len()).collect();
            let count: usize =
                lengths.iter().map(|&length| document.windows(length).filter(|run| runs.contains(*run)).count()).sum();
            assert_eq!(index.check(&document.join(", ")).runs, count as u64, "length {length} of {of}");
        }
    }
}

#[test]
fn empty_texts_and_bounds() {
    let mut index = index(13, 8, &[("empty", ""), ("marks", "?!")]);
    assert_eq!(index.runs(), 0);
    assert!(index.check("").is_clean() && index.check("?!").is_clean() && index.check("words").is_clean());
    for number in 0..MOST_SETS - 2 {
        index.set(&number.to_string()).unwrap();
    }
    assert_eq!(index.set("empty").unwrap(), 0);
    assert!(index.set("one more").unwrap_err().to_string().contains("64"));
    for (words, shortest) in [(0, 1), (1, 0), (usize::MAX, 1)] {
        assert!(ContaminationIndex::new(ContaminationOptions { words, shortest }).is_err());
    }
}

#[test]
fn one_long_line() {
    let index = index(13, 8, &[("math", QUESTION)]);
    let line = format!("{} {QUESTION}", "words and more ".repeat(1_000_000));
    let found = index.check(&line);
    assert_eq!(found.matches.len(), 1);
    assert_eq!(found.matches[0].text, QUESTION.trim_end_matches('?'));
}
