use super::*;
use crate::permutation::mix;

fn train(kind: TokenizerKind, vocabulary: usize, texts: &[&str]) -> Tokenizer {
    let texts = texts.iter().map(|&text| Ok(text.to_owned()));
    train_tokenizer(kind, vocabulary, Framing::Plain, texts, &mut |_, _| {}).unwrap()
}

const SAMPLE: &str = "The quick brown fox jumps over the lazy dog. Don't they've we'll, it's 1,234.5! \
    The foxes were quicker; quickest of all was the brownest fox of the dogs' house.\n\n\tTabs and  spaces   here. \
    红楼梦 是 一 部 小说。 naïve café ÀÉÎ 水水水火 \u{1F600}\u{1F600}";

fn sample() -> String {
    SAMPLE.repeat(20)
}

/// Strings of odd characters, the same every time.
fn odd_strings() -> impl Iterator<Item = String> {
    let parts = [
        "a",
        "Z",
        " ",
        "  ",
        "\n",
        "\t",
        "'",
        "'s",
        "'ll",
        "'re",
        "1",
        "²",
        "½",
        "水",
        "é",
        "e\u{301}",
        "\u{200B}",
        "\u{A0}",
        "\u{3000}",
        "!",
        "...",
        "\u{1F600}",
        "\u{1F468}\u{200D}\u{1F469}",
        "ـ",
        "नि",
        "\u{0}",
        "\u{7F}",
        "\u{85}",
        "\u{2028}",
        "\r",
        "<|endoftext|>",
        "ǅ",
        "Ⅷ",
        "々",
        "\u{10FFFF}",
    ];
    let mut state = 7;
    (0..3000).map(move |_| {
        (0..10)
            .map(|_| {
                state = mix(state);
                parts[state as usize % parts.len()]
            })
            .collect()
    })
}

#[test]
fn byte_level_bpe_round_trips_everything() {
    let tokenizer = train(TokenizerKind::Bpe, 350, &[&sample()]);
    assert_eq!(tokenizer.vocabulary(), 350);
    assert_eq!(tokenizer.end_of_text(), Some(0));
    assert_eq!(tokenizer.token(0).as_deref(), Some(END_OF_TEXT));
    for text in odd_strings().chain([String::new(), sample()]) {
        let ids = tokenizer.encode(&text);
        assert_eq!(tokenizer.decode(&ids), text);
        assert_eq!(ids.iter().map(|&id| tokenizer.token_bytes(id)).sum::<usize>(), text.len());
        assert!(!ids.contains(&0), "{text:?} became the end of a document");
    }
}

#[test]
fn the_fast_road_is_the_general_road() {
    let tokenizer = train(TokenizerKind::Bpe, 500, &[&sample()]);
    assert!(tokenizer.inner.fast.is_some());
    for text in odd_strings() {
        let general = tokenizer.inner.model.encode_fast(text.as_str(), false).unwrap();
        assert_eq!(tokenizer.encode(&text), general.get_ids(), "{text:?}");
    }
}

#[test]
fn texts_in_a_batch_keep_their_order() {
    let tokenizer = train(TokenizerKind::Bpe, 300, &[&sample()]);
    let texts: Vec<String> = odd_strings().take(200).collect();
    let batch = tokenizer.encode_batch(&texts);
    assert!(batch.iter().zip(&texts).all(|(ids, text)| *ids == tokenizer.encode(text)));
}

#[test]
fn every_kind_trains_the_same_twice_and_reopens() {
    for kind in [TokenizerKind::Bpe, TokenizerKind::WordPiece, TokenizerKind::Unigram, TokenizerKind::Word] {
        let vocabulary = if kind == TokenizerKind::Bpe { 330 } else { 110 };
        let text = sample();
        let tokenizer = train(kind, vocabulary, &[&text]);
        for _ in 0..3 {
            assert_eq!(train(kind, vocabulary, &[&text]).hash(), tokenizer.hash(), "{kind}");
        }
        assert!(tokenizer.vocabulary() <= vocabulary, "{kind}: {}", tokenizer.vocabulary());
        let folder = tempfile::tempdir().unwrap();
        tokenizer.save_with_length(folder.path(), Some(256)).unwrap();
        for path in [folder.path().to_path_buf(), folder.path().join("tokenizer.json")] {
            let opened = Tokenizer::open(path).unwrap();
            assert_eq!(opened.hash(), tokenizer.hash());
            assert_eq!(opened.end_of_text(), tokenizer.end_of_text());
            assert_eq!(opened.encode(&text), tokenizer.encode(&text));
        }
        let config = std::fs::read_to_string(folder.path().join("tokenizer_config.json")).unwrap();
        assert!(config.contains("PreTrainedTokenizerFast") && config.contains("\"model_max_length\": 256"), "{config}");
        assert_eq!(kind.to_string().parse::<TokenizerKind>().unwrap(), kind);
        let end = tokenizer.end_of_text().unwrap();
        assert_eq!(tokenizer.token_bytes(end), 0);
        assert!(!tokenizer.encode("a <|endoftext|> [SEP] <EOS> b").contains(&end), "{kind}");
    }
}

#[test]
fn the_vocabulary_asked_for_is_the_one_that_comes() {
    let words: Vec<String> = (0..4000u64).map(|k| format!("w{:x} ", mix(k) % 50_000)).collect();
    let text = words.concat().repeat(3);
    for kind in [TokenizerKind::Bpe, TokenizerKind::WordPiece, TokenizerKind::Unigram, TokenizerKind::Word] {
        assert_eq!(train(kind, 600, &[&text]).vocabulary(), 600, "{kind}");
    }
}

#[test]
fn too_little_text_gives_a_smaller_vocabulary() {
    let tokenizer = train(TokenizerKind::Bpe, 5000, &["aa aa"]);
    assert!(tokenizer.vocabulary() < 270);
    assert!(train_tokenizer(TokenizerKind::Bpe, 300, Framing::Plain, std::iter::empty(), &mut |_, _| {}).is_err());
    assert!(train_tokenizer(TokenizerKind::Bpe, 10, Framing::Plain, std::iter::empty(), &mut |_, _| {}).is_err());
    assert!(
        train_tokenizer(TokenizerKind::Unigram, 40, Framing::Plain, [Ok("x".to_owned())].into_iter(), &mut |_, _| {})
            .is_ok()
    );
}

#[test]
fn a_stream_never_shows_half_a_character_and_joins_to_the_whole() {
    for kind in [TokenizerKind::Bpe, TokenizerKind::WordPiece, TokenizerKind::Unigram, TokenizerKind::Word] {
        let tokenizer = train(kind, if kind == TokenizerKind::Bpe { 280 } else { 120 }, &[&sample()]);
        let mut ids = tokenizer.encode(SAMPLE);
        ids.insert(5, tokenizer.end_of_text().unwrap());
        let mut stream = tokenizer.text_stream();
        let mut joined = String::new();
        for &id in &ids {
            if let Some(text) = stream.push(id) {
                assert!(kind != TokenizerKind::Bpe || !text.contains('\u{FFFD}'), "{text:?}");
                joined += &text;
            }
        }
        joined.extend(stream.finish());
        assert_eq!(joined, tokenizer.decode(&ids), "{kind}");
    }
}

#[test]
fn a_stream_of_any_bytes_shows_what_decoding_shows() {
    let tokenizer = train(TokenizerKind::Bpe, 257, &["x"]);
    let mut state = 3;
    for _ in 0..500 {
        let ids: Vec<u32> = (0..12)
            .map(|_| {
                state = mix(state);
                1 + (state % 256) as u32
            })
            .collect();
        let mut stream = tokenizer.text_stream();
        let mut joined: String = ids.iter().filter_map(|&id| stream.push(id)).collect();
        joined.extend(stream.finish());
        assert_eq!(joined, tokenizer.decode(&ids));
    }
}

#[test]
fn offsets_slice_the_text_back() {
    let tokenizer = train(TokenizerKind::Bpe, 300, &[&sample()]);
    let text = "The naïve fox, 水.";
    let offsets = tokenizer.encode_with_offsets(text);
    assert_eq!(offsets.iter().map(|token| token.id).collect::<Vec<_>>(), tokenizer.encode(text));
    assert_eq!((offsets[0].start, offsets[offsets.len() - 1].end), (0, text.len()));
    for token in offsets {
        assert!(text.get(token.start..token.end).is_some());
    }
}

#[test]
fn bad_files_are_refused_with_their_path() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Tokenizer::open(folder.path()).unwrap_err().to_string();
    assert!(missing.contains("tokenizer.json"), "{missing}");
    let path = folder.path().join("tokenizer.json");
    for content in ["", "{}", "{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0},\"unk_token\":\"[UNK]\"}}"] {
        std::fs::write(&path, content).unwrap();
        let message = Tokenizer::open(&path).unwrap_err().to_string();
        assert!(message.contains("tokenizer.json") && message.contains("hint"), "{message}");
    }
}

#[test]
fn through_gguf_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let texts: Vec<String> = odd_strings().chain([sample()]).collect();
    {
        let kind = TokenizerKind::Bpe;
        let tokenizer = train(kind, 400, &[&sample()]);
        let metadata = tokenizer.gguf_metadata().unwrap();
        loam_gguf::write::<loam_gguf::GgufError>(&path, &metadata, &[], |_| unreachable!()).unwrap();
        // A folder with nothing else in it is as good as the file.
        let again = Tokenizer::open(folder.path()).unwrap();
        assert_eq!(again.end_of_text(), tokenizer.end_of_text(), "{kind}");
        assert_eq!(again.vocabulary(), tokenizer.vocabulary(), "{kind}");
        for text in &texts {
            let ids = tokenizer.encode(text);
            assert_eq!(again.encode(text), ids, "{kind}: {text:?}");
            assert_eq!(again.decode(&ids), tokenizer.decode(&ids), "{kind}: {text:?}");
        }
    }
    // Neither words nor a normalization of its own have a place there.
    assert!(train(TokenizerKind::Word, 40, &[SAMPLE]).gguf_metadata().is_err());
    assert!(train(TokenizerKind::Unigram, 400, &[&sample()]).gguf_metadata().is_err());

    // A unigram model as others write it: the likeliest pieces, bytes for what has none.
    let tokens = ["<unk>", "<0xC3>", "<0xA9>", "\u{2581}", "a", "b", "ab", "\u{2581}a", "</s>"].map(str::to_owned);
    let scores = vec![0.0, 0.0, 0.0, -2.0, -3.0, -3.0, -2.5, -4.0, 0.0];
    let metadata = [
        ("tokenizer.ggml.model".to_owned(), loam_gguf::Value::String("t5".to_owned())),
        ("tokenizer.ggml.tokens".to_owned(), loam_gguf::Value::Array(loam_gguf::Array::String(tokens.to_vec()))),
        ("tokenizer.ggml.scores".to_owned(), loam_gguf::Value::Array(loam_gguf::Array::F32(scores))),
        (
            "tokenizer.ggml.token_type".to_owned(),
            loam_gguf::Value::Array(loam_gguf::Array::I32(vec![2, 6, 6, 1, 1, 1, 1, 1, 3])),
        ),
        ("tokenizer.ggml.eos_token_id".to_owned(), loam_gguf::Value::U32(8)),
    ];
    loam_gguf::write::<loam_gguf::GgufError>(&path, &metadata, &[], |_| unreachable!()).unwrap();
    let unigram = Tokenizer::open(&path).unwrap();
    assert_eq!(unigram.encode("ab  a é"), [3, 6, 7, 3, 1, 2]);
    assert_eq!(unigram.decode(&[3, 6, 7, 3, 1, 2]), "ab a é");
    assert_eq!(unigram.end_of_text(), Some(8));

    // What is wrong with a file is said.
    let good = train(TokenizerKind::Bpe, 400, &[&sample()]).gguf_metadata().unwrap();
    let complaint = |key: &str, value: Option<loam_gguf::Value>| {
        let mut metadata = good.clone();
        let at = metadata.iter().position(|(name, _)| name.ends_with(key)).unwrap();
        match value {
            Some(value) => metadata[at].1 = value,
            None => drop(metadata.remove(at)),
        }
        loam_gguf::write::<loam_gguf::GgufError>(&path, &metadata, &[], |_| unreachable!()).unwrap();
        Tokenizer::open(&path).unwrap_err().to_string()
    };
    let text = |text: &str| Some(loam_gguf::Value::String(text.to_owned()));
    let texts = |texts: &[&str]| {
        let texts = texts.iter().map(ToString::to_string).collect();
        Some(loam_gguf::Value::Array(loam_gguf::Array::String(texts)))
    };
    for (error, word) in [
        (complaint("ggml.model", text("rwkv")), "rwkv"),
        (complaint("ggml.pre", text("tekken")), "tekken"),
        (complaint("ggml.tokens", None), "tokens is missing"),
        (complaint("ggml.tokens", texts(&["a", "b", "a"])), "token_type"),
        (complaint("ggml.merges", None), "merges is missing"),
        (complaint("ggml.merges", texts(&["ab"])), "not a pair"),
        (complaint("ggml.merges", texts(&["\u{1}\u{2} \u{3}"])), "cannot be built"),
        (complaint("ggml.eos_token_id", Some(loam_gguf::Value::U32(9_999_999))), "beyond"),
        (complaint("ggml.model", text("llama")), "scores"),
    ] {
        assert!(error.contains("model.gguf") && error.contains(word), "{error} ({word})");
    }
}
