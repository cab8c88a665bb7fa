use std::path::Path;

use super::*;
use crate::permutation::mix;
use crate::prepare::{HeldOutPlan, PreparePlan, SourcePlan, TokenizerPlan, prepare};
use crate::shard::{StreamWriter, TokenWidth};
use crate::tokenizer::{Framing, TokenizerKind, train_tokenizer};

fn stream(folder: &Path, length: usize, end_of_text: Option<u32>) -> TokenStream {
    let mut writer = StreamWriter::new(folder, "train", "a", "a", TokenWidth::U16, 64);
    let ids: Vec<u32> = (0..length as u32).map(|k| k + 1).collect();
    writer.push(&ids).unwrap();
    TokenStream::open(folder, &writer.finish().unwrap(), TokenWidth::U16, end_of_text).unwrap()
}

#[test]
fn every_token_is_predicted_exactly_once_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    for length in [1, 2, 3, 5, 16, 17, 31, 64, 97, 250] {
        let stream = stream(folder.path(), length, Some(0));
        for context in [1, 2, 3, 7, 16, 40] {
            let windows = length.div_ceil(context) as u64;
            for epoch in 0..4 {
                let mut seen = vec![0; length];
                for number in epoch * windows..(epoch + 1) * windows {
                    let (start, count) = window(length, context, 9, 2, number);
                    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
                    append_window(&stream, start, count, context, &mut inputs, &mut targets);
                    assert_eq!((inputs.len(), targets.len()), (context, context));
                    for (&input, &target) in inputs.iter().zip(&targets) {
                        if target == IGNORE {
                            assert_eq!(input, 0);
                            continue;
                        }
                        seen[target as usize - 1] += 1;
                        // Tokens count up from 1, so what stands before a token is one less; before the
                        // first stands the end of text, or the last token where the ring closes.
                        assert!(input == target - 1 || (target == 1 && input == length as u32), "{input} {target}");
                    }
                }
                assert!(seen.iter().all(|&count| count == 1), "{length} tokens, context {context}: {seen:?}");
            }
        }
    }
}

#[test]
fn later_epochs_cut_and_order_differently() {
    let starts = |seed, epoch: u64| -> Vec<usize> {
        (epoch * 10..epoch * 10 + 10).map(|number| window(100, 10, seed, 0, number).0).collect()
    };
    assert!(starts(1, 0).iter().all(|start| start % 10 == 0));
    assert_ne!(starts(1, 0), starts(1, 1));
    assert_ne!(starts(1, 0), starts(2, 0));
    let phases: std::collections::HashSet<usize> = (1..20).map(|epoch| starts(1, epoch)[0] % 10).collect();
    assert!(phases.len() > 3);
}

#[test]
fn evaluation_covers_all_and_limits_evenly() {
    let folder = tempfile::tempdir().unwrap();
    let stream = stream(folder.path(), 103, Some(0));
    let all = evaluation_sequences(&stream, 10, None);
    let targets: Vec<u32> = all.iter().flat_map(|s| s.targets.clone()).filter(|&id| id != IGNORE).collect();
    assert_eq!(targets, (1..=103).collect::<Vec<u32>>());
    assert!(all.iter().all(|s| s.inputs.len() == 10 && s.targets.len() == 10));
    let some = evaluation_sequences(&stream, 10, Some(35));
    assert_eq!(some.iter().map(|s| s.targets[0]).collect::<Vec<_>>(), [1, 31, 71]);
    assert_eq!(evaluation_sequences(&stream, 10, Some(0)).len(), 1);
    assert_eq!(evaluation_sequences(&stream, 10, Some(10_000)), all);
    assert_eq!(evaluation_sequences(&stream, 500, None).len(), 1);
}

fn prepared(folder: &Path, lengths: &[(usize, f64)]) -> Prepared {
    let write = |name: &str, words: usize| {
        let text: Vec<String> = (0..words as u64).map(|k| format!("w{} ", mix(k) % 97)).collect();
        let path = folder.join(name);
        std::fs::write(&path, text.concat()).unwrap();
        vec![path.to_str().unwrap().to_owned()]
    };
    let sources = lengths.iter().enumerate().map(|(number, &(words, weight))| {
        let name = format!("s{number}");
        SourcePlan { weight, ..SourcePlan::new(&name, write(&format!("{name}.txt"), words)) }
    });
    let sources = sources.collect();
    let held_out = vec![HeldOutPlan::new("h", write("h.txt", 50))];
    let tokenizer =
        train_tokenizer(TokenizerKind::Bpe, 260, Framing::Plain, [Ok("w1 w2".to_owned())].into_iter(), &mut |_, _| {});
    let plan = PreparePlan {
        sources,
        held_out,
        tokenizer: TokenizerPlan::Ready(tokenizer.unwrap()),
        conversations: None,
        bytes: crate::read::Bytes::default(),
    };
    prepare(&plan, &folder.join("out"), &mut |_| {}).unwrap()
}

#[test]
fn sources_come_in_their_shares() {
    let folder = tempfile::tempdir().unwrap();
    let prepared = prepared(folder.path(), &[(4000, 1.0), (1000, 2.0), (3, 1.0), (500, 0.0)]);
    let mut loader = Loader::new(&prepared, 32, 2, 1).unwrap();
    let mut tokens = [0u64; 4];
    for _ in 0..2000 {
        let batch = loader.next();
        assert_eq!((batch.inputs.len(), batch.targets.len()), (64, 64));
        assert_eq!(batch.targets.iter().filter(|&&id| id != IGNORE).count(), batch.tokens);
        tokens[batch.source] += batch.tokens as u64;
    }
    let total: u64 = tokens.iter().sum();
    for (source, &count) in prepared.sources().iter().zip(&tokens) {
        let wanted = source.share * total as f64;
        assert!((wanted - count as f64).abs() <= 64.0, "{}: {count} of {wanted}", source.name);
    }
    assert_eq!(tokens[3], 0);
    assert_eq!(loader.position().tokens, tokens);
}

#[test]
fn a_sought_loader_goes_on_as_if_never_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let prepared = prepared(folder.path(), &[(700, 1.0), (300, 3.0)]);
    let mut whole = Loader::new(&prepared, 16, 3, 5).unwrap();
    for _ in 0..57 {
        whole.next();
    }
    let saved = serde_json::to_string(&whole.position()).unwrap();
    let mut resumed = Loader::new(&prepared, 16, 3, 5).unwrap();
    resumed.seek(&serde_json::from_str(&saved).unwrap());
    let mut other = Loader::new(&prepared, 16, 3, 6).unwrap();
    let mut differs = false;
    for _ in 0..100 {
        let batch = whole.next();
        assert_eq!(batch, resumed.next());
        differs |= batch != other.next();
    }
    assert!(differs);
    assert!(Loader::new(&prepared, 0, 3, 5).is_err());
    assert!(Loader::new(&prepared, 3, 0, 5).is_err());
}
