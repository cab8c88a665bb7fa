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

/// Three sources of few words each, so that a tiny model learns something in seconds, and a recipe for it.
fn corpus(folder: &Path) {
    let words = |seed: u64, words: &[&str]| -> String {
        let mut state = seed;
        let mut text = String::new();
        for _ in 0..60 {
            let mut line = String::new();
            for _ in 0..24 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                line.push_str(words[(state >> 33) as usize % words.len()]);
                line.push(' ');
            }
            text.push_str(&format!("{{\"text\":\"{}\"}}\n", line.trim()));
        }
        text
    };
    let animals = ["the cat", "sat on", "a mat", "and the dog", "ran to", "the door", "again"];
    let numbers = ["one", "two", "three", "four", "five", "six", "seven", "plus", "minus"];
    let noise = ["zx", "qw", "vv", "kj", "pq", "xx", "wz", "jq", "yy", "kk"];
    for (name, seed, list) in [("animals", 1, &animals[..]), ("numbers", 2, &numbers), ("noise", 3, &noise)] {
        fs::write(folder.join(format!("{name}.jsonl")), words(seed, list)).unwrap();
    }
    fs::write(folder.join("held.jsonl"), words(9, &animals[..])).unwrap();
    fs::write(folder.join("held-numbers.jsonl"), words(10, &numbers)).unwrap();
    let source = |name: &str| format!("[[data.source]]\nname = \"{name}\"\npath = [\"{name}.jsonl\"]\n");
    let sources = ["animals", "numbers", "noise"].map(source).concat();
    let rest = "[data.held_out]\nanimals = [\"held.jsonl\"]\nnumbers = [\"held-numbers.jsonl\"]\n\
                [tokenizer]\nkind = \"bpe\"\nvocab = 300\n\
                [model]\nfamily = \"gpt\"\nwidth = 16\nlayers = 1\nheads = 2\ncontext = 32\ndropout = 0.0\n\
                [train]\nsteps = 12\nbatch_tokens = 512\nlr = 0.01\neval_every = 100\ncheckpoint_every = 5\n";
    fs::write(folder.join("recipe.toml"), format!("{sources}{rest}")).unwrap();
}

/// A study of the mixture, with two seeds.
fn mix<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["study", "mix", "recipe.toml", "--seeds", "2"][..], more].concat()
}

/// A table of a study as CSV.
fn table(folder: &Path, study: &str, table: &str) -> String {
    let output = run(folder, &["query", &format!("select * from {table}"), study, "--format", "csv"]);
    done(&output);
    text(&output.stdout)
}

#[test]
fn a_mixture_is_studied_predicted_retrained_and_graded() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    corpus(folder);

    let plan = run(folder, &mix(&["--dry-run"]));
    done(&plan);
    let said = text(&plan.stdout);
    assert!(said.contains("7 arms x 2 seeds = 14 runs, 86,016 tokens") && said.contains("estimated"), "{said}");
    assert!(said.contains("2 seeds cannot see effects below") && said.contains("--spread says another"), "{said}");
    assert!(!folder.join("studies").exists() && !folder.join("runs").exists());
    let plan = run(folder, &["study", "mix", "recipe.toml", "--seeds", "1", "--dry-run"]);
    assert!(text(&plan.stdout).contains("one seed tells no effect from chance"), "{}", text(&plan.stdout));

    let whole = objects(&run(folder, &mix(&["-o", "whole", "--json"])));
    let of = |kind: &str| whole.iter().filter(|own| own["record"] == kind).collect::<Vec<_>>();
    assert_eq!((of("run").len(), of("effect").len(), of("grade").len(), of("power").len()), (14, 18, 3, 1));
    assert_eq!(of("grade")[1]["method"], "ledger, later half");
    let effect =
        of("effect").into_iter().find(|own| own["arm"] == "drop-animals" && own["domain"] == "animals").unwrap();
    assert!(effect["mean"].as_f64().unwrap() > 0.0 && effect["predicted"].as_f64().unwrap() > 0.0, "{effect}");
    assert!(of("power")[0]["words"].as_str().unwrap().contains("2 seeds cannot see effects below"));
    assert!(fs::read_to_string(folder.join("whole/report.html")).unwrap().contains("Predicted, retrained, graded"));
    assert!(table(folder, "whole", "study").contains("drop-animals"));
    // Runs of a study are runs like any other.
    let query =
        run(folder, &["query", "select count(*) as n from ledger", "whole/runs/base/seed-1", "--format", "csv"]);
    assert!(text(&query.stdout).lines().nth(1).is_some_and(|rows| rows.trim() != "0"), "{}", text(&query.stdout));

    // Killed again and again, it ends as if it had not been.
    let mut killed = 0;
    for milliseconds in [700, 1100, 1600, 900, 1300] {
        let mut child = support::command(folder, &mix(&["-o", "killed", "--quiet"])).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        killed += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    done(&run(folder, &mix(&["-o", "killed"])));
    assert!(killed > 0, "no session was killed");
    let same = |name| table(folder, "whole", name).replace("whole", "killed") == table(folder, "killed", name);
    assert!(
        same("study") && same("study_runs"),
        "{}\n{}",
        table(folder, "whole", "study"),
        table(folder, "killed", "study")
    );

    // More seeds go on with what there is; another recipe does not.
    let more = run(folder, &["study", "mix", "recipe.toml", "--seeds", "3", "-o", "whole", "--dry-run"]);
    assert!(text(&more.stdout).contains("14 finished") && text(&more.stdout).contains("by the runs that are finished"));
    let other = run(folder, &mix(&["-o", "whole", "--set", "train.lr=0.02"]));
    refused(&other, 2, &["of another recipe", "choose another folder"]);
}

#[test]
fn a_failed_run_is_shown_and_not_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    corpus(folder);
    let study = ["study", "mix", "recipe.toml", "--only", "drop", "--seeds", "2", "-o", "study"];
    // A folder where a run should be, that holds what no run can be gone on with.
    let run_folder = folder.join("study/runs/drop-noise/seed-2");
    fs::create_dir_all(&run_folder).unwrap();
    fs::write(run_folder.join("recipe.toml"), "[train]\nsteps = \"many\"\n").unwrap();
    let output = run(folder, &study);
    done(&output);
    let said = text(&output.stderr);
    assert!(said.contains("drop-noise, seed 2, failed") && said.contains("--retry-failed"), "{said}");
    assert!(text(&output.stdout).contains("1 failed"), "{}", text(&output.stdout));
    assert!(table(folder, "study", "study_runs").contains("drop-noise,2,failed"));
    assert!(fs::read_to_string(folder.join("study/report.html")).unwrap().contains("drop-noise, seed 2, failed"));
    let again = run(folder, &[&study[..], &["--retry-failed"]].concat());
    done(&again);
    assert!(!text(&again.stderr).contains("failed"), "{}", text(&again.stderr));
    assert!(!table(folder, "study", "study_runs").contains("failed"));
}

#[test]
fn sizes_repetition_orders_and_quality_are_studied() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    corpus(folder);
    let study = |name: &str, more: &[&str]| {
        let all =
            [&["study", name, "recipe.toml", "--seeds", "1", "--resamples", "10", "--json", "-o", name][..], more];
        run(folder, &all.concat())
    };
    let scale = study("scale", &["--widths", "8,16,32", "--tokens", "1024,3072,6144"]);
    let law = objects(&scale).pop().unwrap();
    assert_eq!((law["record"].as_str(), law["points"].as_u64()), (Some("law"), Some(9)));
    assert!(
        folder.join("scale/report.html").is_file() && law["graded"].is_null(),
        "two sizes are left without the largest"
    );

    let repeat = study("repeat", &["--parts", "0.25,0.5,1", "--epochs", "1,2,4"]);
    let law = objects(&repeat).pop().unwrap();
    assert!(law["points"].as_u64() == Some(9) && law["repeated"].as_u64().unwrap() >= 6, "{law}");

    let order = objects(&study("order", &["--orders", "random,short-first,rare-first"]));
    assert_eq!(order.iter().filter(|own| own["record"] == "effect").count(), 9);
    let quality =
        objects(&study("quality", &["--try", "deduplicate", "--try", "garble:0.3", "--try", "clean:letters"]));
    let effects: Vec<_> = quality.iter().filter(|own| own["record"] == "effect").collect();
    assert_eq!(effects.len(), 9);
    assert!(effects.iter().all(|own| own["low"].is_null() && own["p_value"].is_null()), "one seed has no interval");
}

#[test]
fn studies_that_cannot_be_made_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    corpus(folder);
    let study = |arguments: &[&str]| run(folder, &[&["study"][..], arguments].concat());
    refused(&study(&["mix"]), 2, &["loam study mix recipe.toml"]);
    refused(&study(&["scale"]), 2, &["--points runs.csv"]);
    refused(&study(&["mix", "recipe.toml"]), 2, &["-o studies/mix"]);
    let minutes = ["mix", "recipe.toml", "--dry-run", "--set", "train.minutes=1"];
    refused(&study(&minutes), 2, &["cannot be compared", "train.steps"]);
    let unknown = ["mix", "recipe.toml", "--dry-run", "--weights", "wiki=2"];
    refused(&study(&unknown), 2, &["no source \"wiki\"", "animals, numbers, noise"]);
    refused(&study(&["mix", "recipe.toml", "--weights", "animals"]), 2, &["SOURCE=FACTOR"]);
    refused(&study(&["mix", "recipe.toml", "--seeds", "0", "--dry-run"]), 2, &["from 1 to 1000"]);
    refused(&study(&["scale", "recipe.toml", "--widths", "16,32", "--dry-run"]), 2, &["at least three"]);
    refused(&study(&["scale", "recipe.toml", "--widths", "16,20,30", "--dry-run"]), 2, &["no multiple of 8"]);
    refused(&study(&["repeat", "recipe.toml", "--parts", "2", "--dry-run"]), 2, &["at most 1"]);
    refused(&study(&["order", "recipe.toml", "--orders", "sideways", "--dry-run"]), 2, &["short-first"]);
    refused(&study(&["quality", "recipe.toml", "--try", "wash", "--dry-run"]), 2, &["shuffle-words:RATE"]);
    fs::write(
        folder.join("one.toml"),
        "data.train = [\"animals.jsonl\"]\n[train]\nsteps = 5\n[tokenizer]\nvocab = 300\n",
    )
    .unwrap();
    refused(&study(&["mix", "one.toml", "--dry-run"]), 2, &["at least two sources"]);
}
