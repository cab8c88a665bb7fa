//! What the fuzz targets run (`fuzz/src/readers.rs`), here on small seeds that are changed at random from fixed numbers,
//! for some seconds: no reader may panic, hang, or take memory that its file does not have.
//!
//! `LOAM_FUZZ_SEEDS=fuzz/corpus cargo test --release --workspace --test mutated_files` also writes the seeds, a folder a
//! target, for a long run of `cargo fuzz`.

#[path = "../../../fuzz/src/readers.rs"]
mod readers;

use loam_models::weights::write_tensors;
use loam_nn::initialize::mix;
use std::path::Path;
use std::time::{Duration, Instant};

/// Changed inputs a reader at most.
const INPUTS: u64 = 10_000;
/// Time for one reader at most.
const TIME: Duration = Duration::from_millis(1500);
/// Time for one input at most: a template may use up its fuel.
const HANGS: Duration = Duration::from_secs(20);

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// A GGUF file with a text, a list, and a tensor of each of two kinds.
fn gguf_seed(folder: &Path) -> Vec<u8> {
    use loam_gguf::{Array, GgufError, Planned, TensorKind, Value, write};
    let path = folder.join("seed.gguf");
    let metadata = [
        ("general.architecture".to_owned(), Value::String("llama".into())),
        ("tokenizer.ggml.tokens".to_owned(), Value::Array(Array::String(vec!["a".into(), "b".into()]))),
        ("llama.block_count".to_owned(), Value::U32(1)),
    ];
    let plan = |name: &str, shape: &[usize], kind| Planned { name: name.to_owned(), shape: shape.to_vec(), kind };
    let tensors = [plan("one", &[3], TensorKind::F32), plan("two", &[1, 32], TensorKind::Q8_0)];
    let values = |index: usize| Ok::<_, GgufError>(vec![0.5; tensors[index].shape.iter().product()]);
    write(&path, &metadata, &tensors, values).unwrap();
    bytes(&path)
}

/// A pickle of `{"a": tensor}` alone, and what both of PyTorch's containers make of it.
fn pytorch_seeds() -> Vec<Vec<u8>> {
    let text = |text: &str| [b"X".to_vec(), (text.len() as u32).to_le_bytes().to_vec(), text.into()].concat();
    let pickle = [
        b"\x80\x02ccollections\nOrderedDict\n)Rq\0(".to_vec(),
        text("a"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text("0"),
        text("cpu"),
        b"K\x04tQK\0K\x02K\x02\x86K\x02K\x01\x86\x89h\0tRu.".to_vec(),
    ]
    .concat();
    let (mut file, mut list) = (Vec::new(), Vec::new());
    for (name, contents) in [("archive/data.pkl", pickle.clone()), ("archive/data/0", vec![0; 16])] {
        let at = file.len() as u32;
        let fields = [
            [20, 0, 0, 0, 0].map(u16::to_le_bytes).concat(),
            [0, contents.len() as u32, contents.len() as u32].map(u32::to_le_bytes).concat(),
            [name.len() as u16, 0].map(u16::to_le_bytes).concat(),
        ]
        .concat();
        file.extend([&b"PK\x03\x04"[..], &fields, name.as_bytes(), &contents].concat());
        list.extend([&b"PK\x01\x02\x14\0"[..], &fields, &[0; 10], &at.to_le_bytes(), name.as_bytes()].concat());
    }
    let start = file.len() as u32;
    file.extend(&list);
    file.extend(
        [&b"PK\x05\x06\0\0\0\0\x02\0\x02\0"[..], &(list.len() as u32).to_le_bytes(), &start.to_le_bytes()].concat(),
    );
    file.extend([0, 0]);
    let keys = [b"\x80\x02]".to_vec(), text("0"), b"a.".to_vec()].concat();
    let legacy = [
        &[0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'][..],
        b"\x80\x02M\xe9\x03.\x80\x02}.",
        &pickle[..pickle.len() - 1],
        b".",
        &keys,
        &4u64.to_le_bytes(),
        &[0; 16],
    ]
    .concat();
    vec![file, legacy]
}

const TOKENIZER: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{"id":3,"content":"<|endoftext|>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},"post_processor":null,"decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},"model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}}"#;
const PIECES: &str = r###"{"version":"1.0","added_tokens":[],"pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[CLS]","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{"[CLS]":{"id":"[CLS]","ids":[1],"tokens":["[CLS]"]}}},"decoder":{"type":"WordPiece","prefix":"##","cleanup":true},"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,"vocab":{"[UNK]":0,"[CLS]":1,"a":2,"##b":3}}}"###;
const UNIGRAM: &str = r#"{"version":"1.0","added_tokens":[],"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true},"decoder":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true},"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0.0],["▁",-2.0],["a",-1.0],["ab",-1.5]],"byte_fallback":false}}"#;

fn tokenizer_seeds() -> Vec<Vec<u8>> {
    let which = |number: u8, text: &str| [&[number][..], text.as_bytes()].concat();
    vec![
        which(0, TOKENIZER),
        which(0, PIECES),
        which(0, UNIGRAM),
        which(
            1,
            r#"{"tokenizer_class":"GPT2Tokenizer","eos_token":"<|endoftext|>","bos_token":{"content":"a"},"model_max_length":8,"add_bos_token":true}"#,
        ),
        which(2, r#"{"a":0,"b":1,"ab":2,"<|endoftext|>":3}"#),
        which(3, "#version: 0.2\na b\n"),
        which(4, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n"),
    ]
}

/// A small file of every kind that holds documents, behind the byte that says which.
fn document_seeds() -> Vec<Vec<u8>> {
    let record = "WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\nContent-Length: 87\r\n\r\n\
                  HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n<p>\r\n0\r\n\r\n\r\n";
    let dump = "<mediawiki><page><title>A</title><ns>0</ns><id>1</id><revision><text>{{a|[[b]]}} '''c''' [[d|e]]\n{| \
                |}&lt;ref>f&lt;/ref></text></revision></page></mediawiki>";
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, record.as_bytes()).unwrap();
    let compressed = encoder.finish().unwrap();
    let texts: [&[u8]; 13] = [
        "one\n\ntwo 水\n".as_bytes(),
        b"{\"text\": \"a\", \"n\": 1}\n{\"text\": \"b\"}\n",
        b"[{\"text\": \"a\"}, {\"text\": \"b\"}]",
        b"label,review\n1,\"a, b\"\n0,c\n",
        b"text\tlabel\na\t1\n",
        b"PAR1",
        b"ARROW1",
        b"<html><head><meta charset=gbk></head><body><article><p>a<table><tr><td>b</table></article>",
        dump.as_bytes(),
        record.as_bytes(),
        &compressed,
        b"BZh9",
        &[0x28, 0xB5, 0x2F, 0xFD, 0x04, 0x00, 0x09, 0x00, 0x00, 0x61],
    ];
    let behind = |(which, text): (u8, &[u8])| [which, which + 130].map(|first| [&[first], text].concat());
    (0..).zip(texts).flat_map(behind).collect()
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    match target {
        "gguf" => vec![gguf_seed(at)],
        "safetensors" => {
            let file = at.join("model.safetensors");
            let tensors = [("a".to_owned(), vec![2, 2], vec![1.0; 4]), ("b".to_owned(), vec![3], vec![2.0; 3])];
            write_tensors(&file, &tensors).unwrap();
            let whole = bytes(&file);
            let half = String::from_utf8_lossy(&whole[8..]).replace("[2,2]", "[2,4]").replace("F32", "F16");
            vec![whole.clone(), [&whole[..8], half.as_bytes()].concat()]
        }
        "index" => {
            texts(&[r#"{"metadata":{"total_size":16},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#])
        }
        "pytorch" => pytorch_seeds(),
        "config" => texts(&[
            r#"{"model_type":"gpt2","vocab_size":7,"n_positions":4,"n_embd":4,"n_layer":1,"n_head":2,"activation_function":"gelu_new"}"#,
            r#"{"model_type":"llama","vocab_size":7,"hidden_size":4,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,"rope_parameters":{"rope_type":"llama3","rope_theta":500.0,"factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":16}}"#,
            r#"{"model_type":"gemma3_text","vocab_size":7,"hidden_size":4,"intermediate_size":8,"num_hidden_layers":2,"num_attention_heads":2,"head_dim":2,"sliding_window":3,"layer_types":["sliding_attention","full_attention"],"rope_parameters":{"full_attention":{"rope_type":"yarn","factor":4.0},"sliding_attention":{"rope_type":"default"}}}"#,
            r#"{"model_type":"bert","vocab_size":7,"hidden_size":4,"num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":8,"max_position_embeddings":4,"type_vocab_size":2}"#,
            r#"{"model_type":"marian","vocab_size":7,"d_model":4,"encoder_layers":1,"decoder_layers":1,"encoder_attention_heads":2,"decoder_attention_heads":2,"encoder_ffn_dim":8,"decoder_ffn_dim":8,"pad_token_id":6,"eos_token_id":0,"decoder_start_token_id":6,"max_position_embeddings":4}"#,
        ]),
        "tokenizer" => tokenizer_seeds(),
        "template" => texts(&[
            loam_tasks::chat::CHATML,
            "{%- set n = namespace(x='', l=[]) -%}{% for m in messages if m.role != 'system' %}{% set n.x = n.x ~ m.content %}\
             {% set n.l = n.l + [m] %}{% else %}{{ raise_exception('none') }}{% endfor %}{{ n.l | tojson(indent=2) }}\
             {{ n.x[:3].upper().strip().replace('A', 'bb') * 3 }}",
            "{% macro m(x, y=2) %}{{ x | trim }}{{ y ** 2 // 3 }}{% endmacro %}{{ m(messages[0]['content'] | length) }}\
             {{ strftime_now('%d %b %Y') }}{% set x %}{{ bos_token }}{% endset %}{{ ','.join(x | list) }}",
        ]),
        "precision" => vec![
            [0.0f32, -0.0, 1.5, f32::MAX, f32::MIN_POSITIVE, 65_504.0, 65_520.0, f32::INFINITY, f32::NAN]
                .iter()
                .flat_map(|x| x.to_le_bytes())
                .collect(),
        ],
        "word2vec" => {
            let binary = |end: &[u8]| {
                let one = |word: &str| [word.as_bytes(), b" ", &[0, 0, 128, 63, 0, 0, 0, 64], end].concat();
                [b"\0".to_vec(), b"2 2\n".to_vec(), one("a"), one("b")].concat()
            };
            let mut seeds: Vec<Vec<u8>> =
                texts(&["\x002 3\na 1 -0.5 2e-3\nB 0 1 1\n", "\x01: s\na b A b\n: t\nb a b a\na b\n"]);
            seeds.extend([binary(b"\n"), binary(b"")]);
            seeds
        }
        "fasttext" => {
            let fixtures = Path::new("../corpus/tests/fixtures/fasttext");
            let names =
                ["softmax.bin", "softmax.ftz", "pruned.ftz", "tree.bin", "tree.ftz", "alone.bin", "negative.ftz"];
            names.map(|name| bytes(&fixtures.join(name))).to_vec()
        }
        "documents" => document_seeds(),
        other => panic!("no seeds for {other}"),
    }
}

/// What tends to hurt: ends of ranges, depth, other types, bits of templates and pickles.
const NASTY: [&[u8]; 18] = [
    b"18446744073709551615",
    b"9223372036854775807",
    b"4294967296",
    b"-1",
    b"1e308",
    b"null",
    b"[[[[[[[[[[[[",
    b"{}",
    b"\"\"",
    b"../",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x00\x00\x00\x00\x00",
    b"\xe4\xb8",
    b" * 999999999",
    b"{% for i in range(99999) %}",
    b"((((",
    b"NaN",
];

struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = mix(self.0);
        (self.0 % count.max(1) as u64) as usize
    }
}

fn changed(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(8) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 if at < bytes.len() => bytes[at] = random.below(256) as u8,
            3 => drop(bytes.drain(at..(at + random.below(24)).min(bytes.len()))),
            4 => drop(bytes.splice(at..at, NASTY[random.below(NASTY.len())].iter().copied())),
            5 => {
                // A piece of it again, elsewhere.
                let piece = bytes[at..(at + random.below(40)).min(bytes.len())].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            6 => {
                let nasty = NASTY[random.below(NASTY.len())];
                let end = (at + nasty.len()).min(bytes.len());
                bytes.splice(at..end, nasty.iter().copied());
            }
            _ => {
                // A number becomes another one: sizes and offsets that lie.
                if let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|offset| at + offset) {
                    let end = start + bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                    bytes.splice(start..end, NASTY[random.below(4)].iter().copied());
                }
            }
        }
    }
    bytes
}

/// Memory that was resident at most, in bytes, where the system tells.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

#[test]
fn no_reader_panics_on_changed_seeds() {
    let mut failures = Vec::new();
    for (name, reader) in readers::READERS {
        let seeds = seeds(name);
        if let Ok(folder) = std::env::var("LOAM_FUZZ_SEEDS") {
            let folder = Path::new(&folder).join(name);
            std::fs::create_dir_all(&folder).unwrap();
            for (number, seed) in seeds.iter().enumerate() {
                std::fs::write(folder.join(format!("seed-{number}")), seed).unwrap();
            }
        }
        let (begun, mut done) = (Instant::now(), 0);
        let unchanged = seeds.iter().map(|seed| (u64::MAX, seed.clone()));
        let inputs = (0..INPUTS).map(|number| {
            let mut random = Random(mix(number ^ mix(name.len() as u64)));
            (number, changed(&seeds[number as usize % seeds.len()], &mut random))
        });
        for (number, input) in unchanged.chain(inputs) {
            let one = Instant::now();
            if std::panic::catch_unwind(|| reader(&input)).is_err() {
                failures.push(format!("{name}, input {number}: {:?}", String::from_utf8_lossy(&input)));
            }
            if one.elapsed() > HANGS {
                failures.push(format!("{name}, input {number}, took {:?}", one.elapsed()));
            }
            done += 1;
            if begun.elapsed() > TIME {
                break;
            }
        }
        println!("{name}: {done} inputs in {:?}", begun.elapsed());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    if let Some(peak) = peak() {
        assert!(peak < 2 << 30, "{peak} bytes were resident");
    }
}
