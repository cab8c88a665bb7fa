//! Files of weights that lie: sizes, places, names, and pickles that want to run code. Each is refused with the file's
//! name and a reason, and takes no memory for what it claims.

use loam_models::exchange::{Origin, Source, inspect, write};
use loam_models::weights::{Tensors, WriteOptions, write_tensors};
use loam_models::{CausalModel, Gpt, GptConfig, LanguageModel};
use loam_nn::burn::tensor::Device;
use std::fs;
use std::path::Path;

/// A safetensors file of this header and so many bytes of numbers.
fn safetensors(header: &str, bytes: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + bytes, 0);
    file
}

/// Opens these bytes under this name, reads every tensor, and gives the refusal's words.
fn refusal(name: &str, bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let error = read_all(&path).unwrap_err();
    assert!(error.contains(name), "{error}");
    error
}

fn read_all(path: &Path) -> Result<(), String> {
    let tensors = Tensors::open(path).map_err(|error| error.to_string())?;
    for name in tensors.names().map_err(|error| error.to_string())? {
        tensors.get(&name).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[test]
fn safetensors_that_lie_are_refused() {
    let one = |fields: &str| format!("{{\"a\":{{\"dtype\":\"F32\",{fields}}}}}");
    let good = one(r#""shape":[2],"data_offsets":[0,8]"#);
    for (what, file) in [
        ("nothing at all", Vec::new()),
        ("a length alone", 8u64.to_le_bytes().to_vec()),
        ("a header of 2^64", u64::MAX.to_le_bytes().to_vec()),
        ("a header of 2^40", [&(1u64 << 40).to_le_bytes()[..], b"{}"].concat()),
        ("numbers that are cut short", safetensors(&good, 7)),
        ("numbers that nobody names", safetensors(&good, 9)),
        ("a shape that its bytes do not fill", safetensors(&one(r#""shape":[3],"data_offsets":[0,8]"#), 8)),
        ("a shape beyond 2^64", safetensors(&one(r#""shape":[4294967296,4294967296],"data_offsets":[0,8]"#), 8)),
        ("an offset beyond the file", safetensors(&one(r#""shape":[2],"data_offsets":[800,808]"#), 8)),
        ("an end before its beginning", safetensors(&one(r#""shape":[2],"data_offsets":[8,0]"#), 8)),
        ("an offset below nothing", safetensors(&one(r#""shape":[2],"data_offsets":[-8,0]"#), 8)),
        ("an unknown type", safetensors(r#"{"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}}"#, 8)),
        ("text in place of a header", safetensors("no JSON", 8)),
        ("a list in place of a header", safetensors("[]", 0)),
        ("whole numbers where floats belong", safetensors(&good.replace("F32", "I32"), 8)),
        (
            "tensors over each other",
            safetensors(
                r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
                12,
            ),
        ),
        (
            "a hole between tensors",
            safetensors(
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#,
                12,
            ),
        ),
        (
            "one name twice",
            safetensors(
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
                8,
            ),
        ),
    ] {
        let error = refusal("model.safetensors", &file);
        assert!(error.len() > 30, "{what}: {error}");
    }
    let deep = format!("{{\"a\":{}", "[".repeat(200_000));
    refusal("model.safetensors", &safetensors(&deep, 0));
}

#[test]
fn an_index_that_lies_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret.safetensors");
    for path in [&at.join("one.safetensors"), &secret] {
        write_tensors(path, &[("a".into(), vec![2], vec![1.0, 2.0])]).unwrap();
    }
    write_tensors(&at.join("two.safetensors"), &[("b".into(), vec![1], vec![3.0])]).unwrap();
    write_tensors(&at.join("again.safetensors"), &[("a".into(), vec![1], vec![3.0])]).unwrap();
    let index = at.join("model.safetensors.index.json");
    let open = |text: &str| {
        fs::write(&index, text).unwrap();
        read_all(at)
    };
    open(r#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#).unwrap();
    let absolute = secret.display().to_string();
    let up = format!("../{}/secret.safetensors", outside.path().file_name().unwrap().to_string_lossy());
    for (text, word) in [
        ("{".to_owned(), "not valid JSON"),
        ("[]".to_owned(), "weight_map"),
        (r#"{"weight_map":{}}"#.to_owned(), "no tensor"),
        (r#"{"weight_map":{"a":7}}"#.to_owned(), "file's name"),
        (r#"{"weight_map":{"a":"three.safetensors"}}"#.to_owned(), "not there"),
        (r#"{"weight_map":{"a":"one.safetensors"},"weight_map":{"a":"three.safetensors"}}"#.to_owned(), "not there"),
        (r#"{"weight_map":{"a":"two.safetensors"}}"#.to_owned(), "in no file"),
        (r#"{"weight_map":{"a":"one.safetensors","b":"one.safetensors"}}"#.to_owned(), "in no file"),
        (r#"{"weight_map":{"a":"two.safetensors","b":"one.safetensors"}}"#.to_owned(), "says that a is in"),
        (r#"{"weight_map":{"a":"one.safetensors","c":"two.safetensors"}}"#.to_owned(), "in no file"),
        (r#"{"weight_map":{"a":"one.safetensors","x":"again.safetensors"}}"#.to_owned(), "is also in"),
        (format!(r#"{{"weight_map":{{"a":{absolute:?}}}}}"#), "not a file of this folder"),
        (format!(r#"{{"weight_map":{{"a":{up:?}}}}}"#), "not a file of this folder"),
        (r#"{"weight_map":{"a":""}}"#.to_owned(), "not a file of this folder"),
        (r#"{"weight_map":{"a":".."}}"#.to_owned(), "not a file of this folder"),
        (r#"{"weight_map":{"a":"x/../one.safetensors"}}"#.to_owned(), "not a file of this folder"),
        (r#"{"weight_map":{"a":"model.safetensors.index.json"}}"#.to_owned(), "safetensors"),
    ] {
        let error = open(&text).unwrap_err();
        assert!(
            error.contains(word) && (error.contains(".json") || error.contains(".safetensors:")),
            "{text}: {error}"
        );
    }
}

/// A zip archive of stored entries; the sizes that its list claims are what `claim` makes of the true ones.
fn zip(entries: &[(&str, Vec<u8>)], claim: impl Fn(&str, u32) -> u32, method: u16) -> Vec<u8> {
    let (mut file, mut list) = (Vec::new(), Vec::new());
    for (name, contents) in entries {
        let at = file.len() as u32;
        let claimed = claim(name, contents.len() as u32);
        let sizes = [0, claimed, claimed].map(u32::to_le_bytes).concat();
        let lengths = [name.len() as u16, 0].map(u16::to_le_bytes).concat();
        file.extend(0x0403_4b50u32.to_le_bytes());
        file.extend([20, 0, method, 0, 0].map(u16::to_le_bytes).concat());
        file.extend(&sizes);
        file.extend(&lengths);
        file.extend(name.as_bytes());
        file.extend(contents);
        list.extend(0x0201_4b50u32.to_le_bytes());
        list.extend([20, 20, 0, method, 0, 0].map(u16::to_le_bytes).concat());
        list.extend(&sizes);
        list.extend(&lengths);
        list.extend([0, 0, 0].map(u16::to_le_bytes).concat());
        list.extend(0u32.to_le_bytes());
        list.extend(at.to_le_bytes());
        list.extend(name.as_bytes());
    }
    let start = file.len() as u32;
    file.extend(&list);
    file.extend(0x0605_4b50u32.to_le_bytes());
    file.extend([0, 0, entries.len() as u16, entries.len() as u16].map(u16::to_le_bytes).concat());
    file.extend([list.len() as u32, start].map(u32::to_le_bytes).concat());
    file.extend([0, 0]);
    file
}

/// What `torch.save` writes around a pickle and one storage, "0", of these bytes.
fn archive(pickle: &[u8], storage: usize) -> Vec<u8> {
    zip(&[("archive/data.pkl", pickle.to_vec()), ("archive/data/0", vec![0; storage])], |_, size| size, 0)
}

/// The pickle of `{"a": tensor}`: a view of a storage of `numbers` floats, which the archive calls `key`.
fn state(key: &str, numbers: i32, offset: i32, shape: [i32; 2], strides: [i32; 2]) -> Vec<u8> {
    let int = |value: i32| [b"J".to_vec(), value.to_le_bytes().to_vec()].concat();
    let text = |text: &str| [b"X".to_vec(), (text.len() as u32).to_le_bytes().to_vec(), text.into()].concat();
    [
        b"\x80\x02}".to_vec(),
        text("a"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text(key),
        text("cpu"),
        int(numbers),
        b"tQ".to_vec(),
        int(offset),
        int(shape[0]),
        int(shape[1]),
        b"\x86".to_vec(),
        int(strides[0]),
        int(strides[1]),
        b"\x86\x89NtRs.".to_vec(),
    ]
    .concat()
}

#[test]
fn pickles_that_want_to_run_code_are_refused() {
    let name = "pytorch_model.bin";
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join(name);
    fs::write(&good, archive(&state("0", 4, 0, [2, 2], [2, 1]), 16)).unwrap();
    read_all(&good).unwrap();
    let marker = folder.path().join("it-ran");
    let touch = format!("touch {}", marker.display());
    for (module, function) in [
        ("os", "system"),
        ("posix", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("__builtin__", "apply"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch._utils", "_rebuild_from_type_v2"),
        ("torch.storage", "_load_from_bytes"),
        ("torch.serialization", "load"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("_codecs", "encode"),
        ("collections", "OrderedDict.__class__"),
        ("pickle", "loads"),
    ] {
        // As a call of today, as a call of protocol 0, and by a name taken from the stack.
        let old = format!("c{module}\n{function}\n(X{}{touch}tR.", "\0\0\0\0");
        let named = [
            b"\x80\x04\x8c".to_vec(),
            vec![module.len() as u8],
            module.into(),
            b"\x8c".to_vec(),
            vec![function.len() as u8],
            function.into(),
            b"\x93)R.".to_vec(),
        ]
        .concat();
        for pickle in [old.as_bytes(), &named] {
            let error = refusal(name, &archive(pickle, 16));
            assert!(error.contains("not run") && error.contains(module), "{error}");
            // The format before the archives: magic number, version, facts, then the object.
            let legacy = [
                &[0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'][..],
                b"\x80\x02M\xe9\x03.\x80\x02}.",
                pickle,
            ]
            .concat();
            let error = refusal(name, &legacy);
            assert!(error.contains("not run"), "{error}");
        }
    }
    for (pickle, word) in [
        (&b"i"[..], "not run"),
        (b"(ios\nsystem\n.", "not run"),
        (b"(cos\nsystem\no.", "not run"),
        (b"\x80\x02\x82\x01.", "not run"),
        (b"P0\n.", "not run"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "not run"),
        (b"\x80\x63.", "protocol"),
        (b"N.", "not a state dict"),
        (b"}.", "no tensors"),
        (b"(((((((((.", "not there"),
        (b"", "cut short"),
        (b"X\xff\xff\xff\xff", "cut short"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "cut short"),
        (b"h\x07.", "recalls"),
    ] {
        let error = refusal(name, &archive(pickle, 16));
        assert!(error.contains(word), "{pickle:?}: {error}");
    }
    assert!(!marker.exists());
}

#[test]
fn tensors_of_pickles_stay_in_their_storage() {
    let name = "pytorch_model.bin";
    let biggest = i32::MAX;
    for (pickle, word) in [
        (state("1", 4, 0, [2, 2], [2, 1]), "not in the file"),
        (state("../0", 4, 0, [2, 2], [2, 1]), "not in the file"),
        (state("0", 5, 0, [2, 2], [2, 1]), "5 numbers"),
        (state("0", biggest, 0, [2, 2], [2, 1]), "numbers"),
        (state("0", -4, 0, [2, 2], [2, 1]), "size of -4"),
        (state("0", 4, 1, [2, 2], [2, 1]), "needs 4 numbers"),
        (state("0", 4, 9, [2, 2], [2, 1]), "begins 9 numbers into"),
        (state("0", 4, -1, [2, 2], [2, 1]), "size of -1"),
        (state("0", 4, 0, [3, 2], [2, 1]), "needs 6 numbers"),
        (state("0", 4, 0, [biggest, biggest], [0, 0]), "numbers"),
        (state("0", 4, 0, [2, 2], [3, 1]), "out of its storage"),
        (state("0", 4, 0, [2, 2], [biggest, biggest]), "out of its storage"),
        (state("0", 4, 0, [-2, -2], [2, 1]), "size of -2"),
        (state("0", 4, 0, [2, 2], [-2, 1]), "size of -2"),
    ] {
        let error = refusal(name, &archive(&pickle, 16));
        assert!(error.contains(word), "{error} ({word})");
    }
}

#[test]
fn archives_that_lie_are_refused() {
    let name = "pytorch_model.bin";
    let pickle = state("0", 4, 0, [2, 2], [2, 1]);
    let entries = || vec![("archive/data.pkl", pickle.clone()), ("archive/data/0", vec![0; 16])];
    let whole = archive(&pickle, 16);
    let directory = whole.len() - 22;
    let patched = |at: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    for (file, word) in [
        (zip(&entries(), |_, _| u32::MAX - 1, 0), "lies beyond"),
        (zip(&entries(), |_, size| if size == 16 { 1 << 30 } else { size }, 0), "lies beyond"),
        (zip(&entries(), |_, size| if size == 16 { size } else { size + 30 }, 0), "overlap"),
        (zip(&entries(), |_, size| size, 8), "compressed"),
        (zip(&[entries(), entries()].concat(), |_, size| size, 0), "two entries"),
        (zip(&entries()[1..], |_, size| size, 0), "without one data.pkl"),
        (zip(&[("archive/code/a.py", vec![]), ("archive/data.pkl", pickle.clone())], |_, s| s, 0), "TorchScript"),
        (zip(&[entries(), vec![("archive/byteorder", b"big".to_vec())]].concat(), |_, s| s, 0), "byte order"),
        (whole[..directory].to_vec(), "without an end"),
        (whole[..40].to_vec(), "without an end"),
        (patched(directory + 10, &[0xff, 0xff]), "entries do not fit"),
        (patched(directory + 12, &[0xff; 4]), "beyond its end"),
        (patched(directory + 16, &[0xff; 4]), "beyond its end"),
        (patched(directory + 16, &[0; 4]), "broken"),
        (b"PK\x03\x04".to_vec(), "without an end"),
        (b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "git lfs pull"),
        (b"not a checkpoint".to_vec(), "torch.save"),
        (Vec::new(), "torch.save"),
    ] {
        let error = refusal(name, &file);
        assert!(error.contains(word), "{error} ({word})");
    }
}

#[test]
fn shapes_that_the_configuration_denies_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let device = Device::flex();
    Gpt::new(GptConfig::new(11, 9, 8, 1, 2, 0.0), 1, &device).unwrap().save(at, None).unwrap();
    let path = at.join("config.json");
    let good: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (key, value, words) in [
        ("n_embd", serde_json::json!(12), &["wte.weight", "[11, 8]", "[11, 12]"][..]),
        ("vocab_size", serde_json::json!(12), &["wte.weight", "[11, 8]", "[12, 8]"]),
        ("n_layer", serde_json::json!(2), &["lacks", "h.1."]),
        ("n_layer", serde_json::json!(20_000), &["config.json", "parameters"]),
        ("n_head", serde_json::json!(3), &["n_embd = 8", "n_head = 3"]),
        ("n_head", serde_json::json!(0), &["n_head = 0"]),
        ("n_embd", serde_json::json!(1u64 << 60), &["n_embd"]),
        ("n_layer", serde_json::json!(1u64 << 40), &["n_layer"]),
        ("n_layer", serde_json::json!(-1), &["config.json"]),
        ("n_embd", serde_json::json!("eight"), &["config.json"]),
        ("model_type", serde_json::json!("phi3"), &["config.json", "phi3"]),
        ("model_type", serde_json::json!(7), &["config.json", "model_type"]),
        ("scale_attn_weights", serde_json::json!("no"), &["config.json"]),
        ("tie_word_embeddings", serde_json::json!(false), &["lacks", "lm_head.weight"]),
        ("activation_function", serde_json::json!("maxout"), &["activation_function", "maxout"]),
        ("resid_pdrop", serde_json::json!(2), &["resid_pdrop"]),
    ] {
        let mut changed = good.clone();
        changed[key] = value;
        fs::write(&path, changed.to_string()).unwrap();
        let error = CausalModel::load(at, &device).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{key}: {error}");
    }
    for text in ["", "[]", "{}", "null", "{\"model_type\":\"gpt2\"}"] {
        fs::write(&path, text).unwrap();
        assert!(CausalModel::load(at, &device).is_err());
    }
    // A wrong layer is named; so is one that is missing, and one too many.
    fs::write(&path, good.to_string()).unwrap();
    let weights = at.join("model.safetensors");
    let tensors: Vec<_> = {
        let file = Tensors::open(&weights).unwrap();
        let read = |name: String| file.get(&name).unwrap().map(|(values, shape)| (name, shape, values)).unwrap();
        file.names().unwrap().into_iter().map(read).collect()
    };
    let refused = |tensors: &[(String, Vec<usize>, Vec<f32>)], words: &[&str]| {
        write_tensors(&weights, tensors).unwrap();
        let error = CausalModel::load(at, &device).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    let bias = tensors.iter().position(|(name, ..)| name.ends_with("mlp.c_fc.bias")).unwrap();
    let mut changed = tensors.clone();
    changed[bias].1 = vec![2, 16];
    refused(&changed, &["mlp.c_fc.bias", "[2, 16]", "[32]"]);
    changed.remove(bias);
    refused(&changed, &["lacks", "mlp.c_fc.bias"]);
    let more = [tensors, vec![("adapter".to_owned(), vec![1], vec![0.0])]].concat();
    refused(&more, &["adapter"]);
}

#[test]
fn exchange_refuses_what_loading_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("model");
    let device = Device::flex();
    Gpt::new(GptConfig::new(11, 9, 8, 1, 2, 0.0), 1, &device).unwrap().save(&at, None).unwrap();
    let out = folder.path().join("out");
    for (file, contents) in [
        ("config.json", &b"{"[..]),
        ("config.json", b"[]"),
        ("model.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("model.safetensors", b""),
    ] {
        let path = at.join(file);
        let good = fs::read(&path).unwrap();
        fs::write(&path, contents).unwrap();
        let source = Source::find(&at).unwrap();
        let error = write(&source, &out, &WriteOptions::default(), &Origin::default()).unwrap_err().to_string();
        assert!(error.contains(file), "{error}");
        assert!(inspect(&source).is_err());
        assert!(!out.exists(), "something was left behind");
        fs::write(&path, good).unwrap();
    }
    assert!(Source::find(&folder.path().join("none")).is_err());
    fs::remove_file(at.join("config.json")).unwrap();
    assert!(Source::find(&at).unwrap_err().to_string().contains("config.json"));
}
