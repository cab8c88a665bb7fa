//! Rows of two sentences: what a feed makes of documents whose words tell them apart.

use loam_corpus::{IGNORE, Prepared};
use loam_train::Recipe;
use loam_train::feed::Feed;
use loam_train::objective::{Kind, Settings};
use loam_train::plan::{self, Portions};
use loam_train::recipe::{ModelFamily, ModelRecipe, ModelShape, SourceRecipe, TokenizerKind, TokenizerRecipe};
use std::path::Path;

const CONTEXT: usize = 24;

/// Documents of a word of their own each, the `number`-th of `4 + number` sentences.
fn prepared(folder: &Path) -> (Prepared, Settings) {
    let word = |number: usize| {
        let letter = |index: usize| char::from(b'a' + (index % 26) as u8);
        format!("{}{}{}", letter(number), letter(number / 3 + 5), letter(7 * number + 1))
    };
    let document = |number: usize| {
        let word = word(number);
        format!("{word} {word} {word}. ").repeat(4 + number % 9).trim().to_owned()
    };
    let mut recipe = Recipe::default();
    let path = folder.join("text.jsonl").display().to_string();
    let records = (0..60).map(|number| format!("{{\"text\": \"{}\"}}\n", document(number)));
    std::fs::write(&path, records.collect::<String>()).unwrap();
    recipe.data.sources = vec![SourceRecipe::new("text", vec![path.clone()])];
    recipe.data.held_out.insert("held".to_owned(), vec![path]);
    recipe.tokenizer = TokenizerRecipe::Train { kind: TokenizerKind::WordPiece, vocab: 200 };
    let shape = ModelShape { family: ModelFamily::Bert, context: CONTEXT, ..ModelShape::default() };
    recipe.model = ModelRecipe::New(shape);
    recipe.objective.next_sentence = true;
    let plan = plan::prepare_plan(&recipe, Kind::Masked, None);
    let prepared = loam_corpus::prepare(&plan, &folder.join("data"), &mut |_| {}).unwrap();
    (prepared, plan::objective(&recipe))
}

#[test]
fn half_of_the_second_sentences_follow_and_the_others_are_of_other_documents() {
    let folder = tempfile::tempdir().unwrap();
    let (prepared, settings) = prepared(folder.path());
    let portions = Portions { context: CONTEXT, sequences: 4, micro_batches: 1 };
    let feed = || Feed::new(&prepared, Kind::Masked, &settings, &portions).unwrap();
    let tokenizer = prepared.tokenizer();
    let [begin, end, stop] = ["[CLS]", "[SEP]", "."].map(|token| tokenizer.token_id(token).unwrap());
    let (mut feed, mut again) = (feed(), feed());
    let (mut rows, mut follow, mut full) = (0_u32, 0_u32, [0_u32; 2]);
    for number in 0..150 {
        if number == 70 {
            // What was delivered says all that comes.
            again.seek(&feed.position(), &[]);
        }
        let batch = feed.next();
        if number >= 70 {
            assert_eq!(again.next().examples, batch.examples);
        }
        for example in batch.examples {
            let next = example.next_sentence.unwrap();
            let told = example.inputs.iter().zip(&example.targets);
            let truth: Vec<u32> =
                told.map(|(input, target)| if *target == IGNORE { *input } else { *target }).collect();
            let (first, second) = (&truth[1..next.second - 1], &truth[next.second..truth.len() - 1]);
            assert!(truth.len() <= CONTEXT && !first.is_empty() && !second.is_empty());
            assert_eq!([truth[0], truth[next.second - 1], truth[truth.len() - 1]], [begin, end, end]);
            assert_eq!((truth.iter().filter(|id| **id == end).count(), *first.last().unwrap()), (2, stop));
            assert!(example.counted() > 0);
            // A row may begin inside a word, or between a word and its stop.
            let words = |tokens: &[u32]| -> Vec<String> {
                let text = tokenizer.decode(tokens).replace("##", "");
                text.split([' ', '.']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
            };
            let (first_words, second_words) = (words(first), words(second));
            if let (Some(last), Some(word), true) = (first_words.last(), second_words.first(), next.follows) {
                assert!(word.ends_with(last) || last.starts_with(word), "{first_words:?} and {second_words:?}");
            }
            rows += 1;
            follow += u32::from(next.follows);
            full[usize::from(next.follows)] += u32::from(truth.len() == CONTEXT);
            if let (Some(last), Some(word), false) = (first_words.last(), second_words.first(), next.follows) {
                assert_ne!(last, word, "every document has a word of its own");
            }
        }
    }
    let share = f64::from(follow) / f64::from(rows);
    assert!((share - 0.5).abs() < 0.07, "{share} of {rows}");
    // The length does not tell.
    let full = [f64::from(full[0]) / f64::from(rows - follow), f64::from(full[1]) / f64::from(follow)];
    assert!((full[0] - full[1]).abs() < 0.12, "{full:?}");
    // Held-out rows are the same each time.
    let held_out = feed.held_out(&prepared, 0, None);
    assert_eq!(held_out, again.held_out(&prepared, 0, None));
    let follows = held_out.iter().filter(|example| example.next_sentence.unwrap().follows).count();
    assert!(follows > held_out.len() / 5 && follows < held_out.len() * 4 / 5, "{follows} of {}", held_out.len());
}
