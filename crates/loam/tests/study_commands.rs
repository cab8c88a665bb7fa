//! Laws of runs that there are, as users ask for them.

mod support;

use std::fs;
use std::path::Path;
use support::{done, objects, refused, run, text};

/// Runs of a planted law: sizes × lengths, and parts of a text × epochs.
fn tables(folder: &Path) {
    let mut scale = String::from("Model Size,Tokens,result loss\n");
    let mut repeat = String::new();
    let mut count = 0_u32;
    let mut noise = move || {
        count += 1;
        1.0 + 0.002 * (f64::from(count * 7919 % 13) / 6.0 - 1.0)
    };
    for size in [1e6_f64, 3e6, 1e7, 3e7] {
        for tokens in [1e7_f64, 4e7, 1.6e8, 6.4e8] {
            let loss = (2.0 + 60.0 / size.powf(0.3) + 200.0 / tokens.powf(0.33)) * noise();
            scale.push_str(&format!("{size},{tokens},{loss}\n"));
        }
    }
    for unique in [1e6_f64, 4e6, 1.6e7] {
        for epochs in [1.0_f64, 4.0, 12.0, 40.0] {
            let worth = unique * (1.0 + 10.0 * (1.0 - (-(epochs - 1.0) / 10.0).exp()));
            let loss = 2.5 + 200.0 / worth.powf(0.33);
            repeat.push_str(&format!("{{\"n\":1e6,\"unique_tokens\":{unique},\"epochs\":{epochs},\"loss\":{loss}}}\n"));
        }
    }
    fs::write(folder.join("scale.csv"), scale).unwrap();
    fs::write(folder.join("repeat.jsonl"), repeat).unwrap();
}

#[test]
fn laws_are_fitted_to_tables_of_runs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tables(folder);
    let scale = ["study", "scale", "--points", "scale.csv", "--resamples", "50", "--forecast", "1B,20B", "-o", "laws"];
    let output = run(folder, &scale);
    // The column is called otherwise than usual, which is said with the columns there are.
    refused(&output, 1, &["no column says what the loss was", "Model Size, Tokens, result loss"]);
    let scale = [&scale[..], &["--column", "loss=result loss"]].concat();
    let output = run(folder, &scale);
    done(&output);
    let said = text(&output.stdout);
    assert!(
        said.contains("L(N, D) = ") && said.contains("best use of compute") && said.contains("1.00 G parameters"),
        "{said}"
    );
    assert!(fs::read_to_string(folder.join("laws/report.html")).unwrap().contains("class=\"band"));
    let object = &objects(&run(folder, &[&scale[..], &["--json"]].concat()))[0];
    let value = |name: &str, part: &str| object["law"][name][part].as_f64().unwrap();
    assert!((value("floor", "value") - 2.0).abs() < 0.3, "{object}");
    assert!(value("floor", "low") <= value("floor", "value") && value("floor", "standard_error") > 0.0);
    assert_eq!((object["points"].as_u64(), object["study"].as_str()), (Some(16), Some("scale")));
    assert_eq!(objects(&run(folder, &[&scale[..], &["--json"]].concat()))[0], *object, "the same seed says the same");

    let output = run(folder, &["study", "repeat", "--points", "repeat.jsonl", "--resamples", "20", "--json"]);
    let object = &objects(&output)[0];
    assert!((object["law"]["data_decay"]["value"].as_f64().unwrap() - 10.0).abs() < 1.0, "{object}");
    assert_eq!(object["repeated"].as_u64(), Some(9));
}

#[test]
fn runs_that_tell_no_law_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tables(folder);
    let of = |more: &[&str]| run(folder, &[&["study", "scale", "--points"][..], more].concat());
    refused(&of(&["nowhere.csv"]), 1, &["nowhere.csv"]);
    refused(&of(&["scale.csv", "--column", "loss"]), 2, &["give WHAT=COLUMN"]);
    refused(&of(&["scale.csv", "--column", "loss=result loss", "--drop-highest", "12"]), 1, &["4 runs cannot tell"]);
    refused(&of(&["scale.csv", "--forecast", "big,1"]), 2, &["give N,D"]);
    refused(&of(&["repeat.jsonl"]), 1, &["1 different sizes", "loam study repeat"]);
    fs::write(folder.join("bad.csv"), "parameters,tokens,loss\n1,2,nan\n1,2,3\n1,2,3\n1,2,3\n1,2,3\n1,2,3\n").unwrap();
    refused(&of(&["bad.csv"]), 1, &["the loss of run 1 is NaN"]);
    let repeat = run(folder, &["study", "repeat", "--points", "repeat.jsonl", "--forecast", "1,2,3"]);
    refused(&repeat, 2, &["no more than D are different"]);
}
