//! Each rule from both sides of its limit.

use super::*;

fn judged(preset: Preset, text: &str) -> Judged<'_> {
    Filters::only(&[preset]).apply(text, Segmentation::English)
}

fn value(preset: Preset, text: &str, measure: Measure) -> f64 {
    judged(preset, text).value(measure).unwrap()
}

/// What a limit does on both sides of the value that a text has.
fn both_sides(rule: Rule, text: &str) {
    let found = value(rule.preset(), text, rule.measure());
    let verdict = |limit: f64| {
        let mut filters = Filters::only(&[rule.preset()]);
        for &other in Rule::ALL.iter().filter(|other| !other.is_of_lines()) {
            filters.limits.insert(other, Limit::Off);
        }
        filters.limits.insert(rule, Limit::At(limit));
        filters.apply(text, Segmentation::English).verdict
    };
    let (passes, fails) = match rule.side() {
        Side::Below => (found, found * 1.001 + 1e-9),
        Side::Above => (found, found * 0.999 - 1e-9),
    };
    assert_eq!(verdict(passes), None, "{rule} at its value {found}");
    assert_eq!(verdict(fails), Some(rule), "{rule} beyond its value {found}");
}

/// Words that do not repeat, `count` of them, four letters each.
fn words(count: usize) -> String {
    let letter = |place: usize| char::from(b'a' + (place % 26) as u8);
    let word = |at: usize| [letter(at), letter(at / 26), letter(at / 676), 'q'].iter().collect::<String>();
    (0..count).map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_rule_draws_its_line_at_its_limit() {
    let repeated = "one two three four five six seven eight nine ten eleven twelve\n\n";
    let text = format!("{repeated}{repeated}- a #line with the dots...\n{{of}} lorem ipsum, and that. Yes.\n");
    for &rule in Rule::ALL.iter().filter(|rule| !rule.is_of_lines()) {
        both_sides(rule, &text);
    }
}

#[test]
fn published_limits_hold_from_both_sides() {
    let stop = "the be";
    let of = |count: usize| format!("{stop} {}", words(count - 2));
    assert_eq!(judged(Preset::GopherQuality, &of(50)).verdict, None);
    assert_eq!(judged(Preset::GopherQuality, &of(49)).verdict, Some(Rule::GopherMinWords));
    assert_eq!(judged(Preset::GopherQuality, &of(100_000)).verdict, None);
    assert_eq!(judged(Preset::GopherQuality, &of(100_001)).verdict, Some(Rule::GopherMaxWords));
    assert_eq!(judged(Preset::GopherQuality, &format!("the {}", words(60))).verdict, Some(Rule::GopherStopWords));
    // A mark is a word too: of 60 words 6 may be marks, and 7 are too many.
    let hashes = |count: usize| format!("{} {}", of(60 - count), "# ".repeat(count));
    assert_eq!(judged(Preset::GopherQuality, &hashes(6)).verdict, None);
    assert_eq!(judged(Preset::GopherQuality, &hashes(7)).verdict, Some(Rule::GopherHashes));

    let sentences = |count: usize| "This is a line.\n".repeat(count);
    assert_eq!(judged(Preset::C4, &sentences(5)).verdict, None);
    assert_eq!(judged(Preset::C4, &sentences(4)).verdict, Some(Rule::C4Sentences));

    // Six lines of fifty are 0.12 of them.
    let lines = |ended: usize| {
        let mark = |at: usize| if at < ended { "." } else { "" };
        (0..50)
            .map(|at| format!("line {at} is longer than thirty characters{}", mark(at)))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(judged(Preset::Fineweb, &lines(6)).verdict, None);
    assert_eq!(judged(Preset::Fineweb, &lines(5)).verdict, Some(Rule::FinewebLinePunctuation));
}

#[test]
fn empty_texts_are_judged_and_nothing_panics() {
    for text in ["", " ", "\n", "\r\n\t", "…", "....", "\u{85}\u{2028}", "((((", "\u{FEFF}", "{", "[", "[1", "[1]"] {
        for segmentation in [Segmentation::English, Segmentation::Chinese, Segmentation::Unicode] {
            let judged = Filters::default().apply(text, segmentation);
            assert!(judged.verdict.is_some(), "{text:?}");
            assert!(judged.values.iter().all(|(_, value)| value.is_finite()), "{text:?}");
        }
    }
    assert_eq!(judged(Preset::GopherRepetition, "").verdict, Some(Rule::RepetitionEmpty));
    assert_eq!(judged(Preset::Fineweb, " \n").verdict, Some(Rule::FinewebEmpty));
}

#[test]
fn english_words_are_those_of_spacy() {
    let cases: &[(&str, &[&str])] = &[
        (
            "I can't, won't; they're Dr. Smith's.",
            &["I", "ca", "n't", ",", "wo", "n't", ";", "they", "'re", "Dr.", "Smith", "'s", "."],
        ),
        (
            "don’t (well-known) U.S.A. e.g. 10%",
            &["do", "n’t", "(", "well", "-", "known", ")", "U.S.A.", "e.g.", "10", "%"],
        ),
        (
            "see http://a-b.com/c-d, 5km/h at 3:30p.m...",
            &["see", "http://a-b.com/c-d", ",", "5", "km/h", "at", "3:30p.m", "..."],
        ),
        ("hello:) It.Is a--b wait…no", &["hello", ":)", "It", ".", "Is", "a", "--", "b", "wait", "…", "no"]),
        ("$5.50, +1 C++ A. USA. id", &["$", "5.50", ",", "+1", "C++", "A.", "USA", ".", "i", "d"]),
    ];
    for (text, expected) in cases {
        let (mut found, mut scratch) = (Vec::new(), words::Scratch::default());
        words::split(text, Segmentation::English, &mut found, &mut scratch);
        let found: Vec<_> = found.iter().map(|word| &text[word.start..word.start + word.bytes as usize]).collect();
        assert_eq!(found, *expected);
    }
}

#[test]
fn c4_takes_lines_and_citations_out() {
    let text = "Menu\nThis is the first line.\nIt has a mark[12] and a note [citation needed].\nPlease enable JavaScript now.\n\
                We use cookies on this page.\nToo short.\nNo mark at the end\nOne. Two. Three! Four?";
    let judged = judged(Preset::C4, text);
    assert_eq!(judged.verdict, None);
    assert_eq!(judged.text, "This is the first line.\nIt has a mark and a note .\nOne. Two. Three! Four?");
    assert_eq!(judged.value(Measure::Sentences), Some(6.0));
    assert_eq!(judged.value(Measure::CitedLines), Some(1.0));
    assert_eq!(judged.value(Measure::ShortLines), Some(1.0));
    assert_eq!(judged.value(Measure::UnpunctuatedLines), Some(2.0));
}

#[test]
fn the_first_line_decides_between_two_rules() {
    let (lorem, curly) = ("This is lorem ipsum here.", "This is a { in it.");
    assert_eq!(judged(Preset::C4, &format!("{lorem}\n{curly}")).verdict, Some(Rule::C4LoremIpsum));
    assert_eq!(judged(Preset::C4, &format!("{curly}\n{lorem}")).verdict, Some(Rule::C4CurlyBracket));
}

#[test]
fn later_filters_see_what_c4_leaves() {
    let kept: Vec<_> = (0..6).map(|at| format!("Line number {at} is kept, for it ends well.")).collect();
    let kept = kept.join("\n") + "\n";
    let text = format!("{kept}{}", "dropped\n".repeat(60));
    let filters = Filters::only(&[Preset::C4, Preset::Fineweb]);
    let judged = filters.apply(&text, Segmentation::English);
    assert_eq!(judged.verdict, None);
    assert_eq!(judged.value(Measure::Lines), Some(6.0));
    assert_eq!(judged.text, kept.trim_end());
}

#[test]
fn a_dropped_text_keeps_its_values_and_itself() {
    let judged = Filters::default().apply("short", Segmentation::English);
    assert_eq!(judged.verdict, Some(Rule::GopherMinWords));
    assert_eq!(judged.text, "short");
    assert_eq!(judged.values.len(), Measure::ALL.len());
    assert_eq!(Filters::default().judge(&judged.values, Segmentation::English), judged.verdict);
}

#[test]
fn chinese_is_asked_other_things() {
    let text = "今天天气很好，我们一起去公园散步。\n花园里的花都开了，孩子们在草地上奔跑。\n他说这是他见过的最美的春天。\n\
                我不知道明天会不会下雨，但是没有关系。\n晚上我们回家做饭，聊了很久的往事。\n夜深了，大家都睡了。";
    let adapted = Filters::only(&[Preset::GopherQuality, Preset::C4]);
    assert_eq!(adapted.apply(text, Segmentation::Chinese).verdict, None);
    let published = Filters { adapt_chinese: false, ..adapted };
    assert_eq!(published.apply(text, Segmentation::Chinese).verdict, Some(Rule::GopherMinMeanWordLength));
}

#[test]
fn settings_come_from_recipes() {
    let json = r#"{"presets": ["c4", "gopher_quality"], "limits": {"gopher_min_words": 3, "c4_citation": false}}"#;
    let filters: Filters = serde_json::from_str(json).unwrap();
    assert_eq!(filters.limit(Rule::GopherMinWords, Segmentation::English), Some(3.0));
    assert_eq!(filters.limit(Rule::C4Citation, Segmentation::English), None);
    let error = |json: &str| serde_json::from_str::<Filters>(json).unwrap_err().to_string();
    assert!(error(r#"{"limits": {"gopher_min_wrods": 3}}"#).contains("did you mean \"gopher_min_words\"?"));
    assert!(error(r#"{"limits": {"gopher_min_words": -3}}"#).contains("at least 0"));
    assert!(error(r#"{"limit": {}}"#).contains("unknown field"));
    assert!(error(r#"{"presets": ["C4"]}"#).contains("did you mean \"c4\"?"));
    for &rule in Rule::ALL {
        assert_eq!(rule.name().parse(), Ok(rule));
    }
}

#[test]
fn hostile_texts_take_linear_time() {
    let (many, start) = (1 << 20, std::time::Instant::now());
    for unit in ["(", "'", ".", "-", "a.", "@a", "…", "[", "x[1]", "http://", "a'", "\u{2028}", "\u{A0}", "— "] {
        Filters::default().apply(&unit.repeat(many / unit.len()), Segmentation::English);
    }
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn verdicts_are_those_of_datatrove() {
    // Made by `python benches/peers/datatrove_filters.py --fixture`.
    let fixture = include_str!("../../tests/fixtures/datatrove_filters.json");
    let documents: Vec<serde_json::Value> = serde_json::from_str(fixture).unwrap();
    for document in documents {
        let text = document["input"].as_str().unwrap();
        for &preset in Preset::ALL {
            let judged = judged(preset, text);
            let verdict = judged.verdict.map(Rule::name);
            assert_eq!(verdict, document[preset.name()].as_str(), "{preset} of {text:?}");
            if preset == Preset::C4 {
                assert_eq!(judged.text, document["text"].as_str().unwrap());
            }
        }
    }
}
