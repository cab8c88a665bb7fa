//! Files written and read, and files that lie: an error or a file, never a panic, and no memory for what is not there.

use loam_gguf::{Array, Gguf, GgufError, Planned, TensorKind, Value, write};

fn sample() -> Vec<(String, Value)> {
    let text = |text: &str| Value::String(text.to_owned());
    vec![
        ("general.architecture".to_owned(), text("llama")),
        ("a.u8".to_owned(), Value::U8(200)),
        ("a.i8".to_owned(), Value::I8(-3)),
        ("a.u16".to_owned(), Value::U16(60_000)),
        ("a.i16".to_owned(), Value::I16(-300)),
        ("a.u32".to_owned(), Value::U32(7)),
        ("a.i32".to_owned(), Value::I32(-7)),
        ("a.u64".to_owned(), Value::U64(1 << 40)),
        ("a.i64".to_owned(), Value::I64(-(1 << 40))),
        ("a.f32".to_owned(), Value::F32(0.5)),
        ("a.f64".to_owned(), Value::F64(0.25)),
        ("a.bool".to_owned(), Value::Bool(true)),
        ("a.texts".to_owned(), Value::Array(Array::String(vec!["a".into(), "狗".into(), String::new()]))),
        ("a.lists".to_owned(), Value::Array(Array::Array(vec![Array::U8(vec![1, 2]), Array::F32(vec![])]))),
    ]
}

fn file(folder: &std::path::Path) -> std::path::PathBuf {
    let path = folder.join("x.gguf");
    let plan = |name: &str, shape: &[usize], kind| Planned { name: name.to_owned(), shape: shape.to_vec(), kind };
    let tensors = [
        plan("one", &[3], TensorKind::F32),
        plan("two", &[2, 64], TensorKind::Q8_0),
        plan("three", &[5, 2], TensorKind::F16),
    ];
    let values =
        |index: usize| Ok::<_, GgufError>((0..tensors[index].shape.iter().product()).map(|x| x as f32).collect());
    write(&path, &sample(), &tensors, values).unwrap();
    path
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let read = Gguf::open(&file(folder.path())).unwrap();
    assert_eq!(read.metadata(), sample());
    let values = |name: &str| read.values(read.tensor(name).unwrap());
    assert_eq!(read.tensor("two").unwrap().shape, [2, 64]);
    assert_eq!(values("one"), [0.0, 1.0, 2.0]);
    assert_eq!(values("three"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    assert!(values("two").iter().enumerate().all(|(i, x)| (x - i as f32).abs() < 0.5));
    assert_eq!(loam_gguf::find(folder.path(), "config.json").unwrap(), Some(folder.path().join("x.gguf")));
    std::fs::copy(folder.path().join("x.gguf"), folder.path().join("y.gguf")).unwrap();
    let error = loam_gguf::find(folder.path(), "config.json").unwrap_err().to_string();
    assert!(error.contains("2 GGUF files"), "{error}");
}

/// The finalizer of SplitMix64.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[test]
fn damaged_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(file(folder.path())).unwrap();
    Gguf::check(&whole).unwrap();
    for length in 0..whole.len() - 20 {
        assert!(Gguf::check(&whole[..length]).is_err(), "{length} bytes of {}", whole.len());
    }
    for seed in 0..20_000 {
        let random = |salt: u64| mix(seed ^ mix(salt)) as usize;
        let mut bytes = whole.clone();
        for change in 0..=random(0) as u64 % 3 {
            let at = random(10 + change) % bytes.len();
            match random(20 + change) % 4 {
                0 => bytes[at] = random(30 + change) as u8,
                1 => bytes[at] ^= 1 << (random(40 + change) % 8),
                2 => bytes[at] = 0xff,
                // Lengths of 64 bits become large.
                _ => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = 0xff),
            }
        }
        let _ = Gguf::check(&bytes);
    }
}

#[test]
fn lies_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(file(folder.path())).unwrap();
    let find = |bytes: &[u8]| whole.windows(bytes.len()).position(|window| window == bytes).unwrap();
    let lie = |at: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        Gguf::check(&file).unwrap_err()
    };
    let huge = u64::MAX.to_le_bytes();
    let (one, two) = (find(b"one"), find(b"two"));
    for (error, word) in [
        (lie(0, b"GGML"), "begin with GGUF"),
        (lie(4, &[9]), "version 9"),
        (lie(4, &[0, 0, 0, 3]), "big-endian"),
        (lie(8, &huge), "tensors"),
        (lie(16, &huge), "metadata"),
        (lie(24, &huge), "text"),
        (lie(find(b"a.u8"), b"a.i8"), "twice"),
        (lie(find(b"a.bool") + 10, &[2]), "neither true nor false"),
        (lie(find(b"a.u16") + 5, &[99]), "unknown type"),
        (lie(two, b"one"), "twice"),
        (lie(one + 3, &[5]), "dimensions"),
        (lie(one + 7, &huge), "larger than any file"),
        (lie(one + 7, &[200, 200, 200]), "ends beyond the file"),
        (lie(one + 15, &[77]), "of type 77"),
        (lie(one + 19, &[1]), "multiple of 32"),
        (lie(two + 7, &[63]), "whole blocks"),
        (lie(two + 27, &[0]), "lie over each other"),
    ] {
        assert!(error.contains(word), "{error} ({word})");
    }
    // Lists in lists in lists.
    let mut deep = b"GGUF\x03\0\0\0".to_vec();
    deep.extend(0_u64.to_le_bytes());
    deep.extend(1_u64.to_le_bytes());
    deep.extend(1_u64.to_le_bytes());
    deep.push(b'k');
    deep.extend(9_u32.to_le_bytes());
    for _ in 0..1000 {
        deep.extend(9_u32.to_le_bytes());
        deep.extend(1_u64.to_le_bytes());
    }
    assert!(Gguf::check(&deep).unwrap_err().contains("deep"));
}
