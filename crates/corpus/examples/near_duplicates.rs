//! Measures near duplicates: what is found of pairs planted at an exact similarity, beside what theory says.
//!
//!     cargo run --release -p loam-corpus --example near_duplicates -- [--documents 100000] [--threads 1]
//!         plants pairs among so many documents of 2 KB, made as they are needed, and prints recall at each similarity,
//!         precision, speed, and the most memory that was taken
//!     … --write FILE
//!         writes the documents as JSON lines instead
//!     … --read FILE --out FILE
//!         removes the near duplicates of such a file, and prints one JSON object (`benches/peers/minhash_datatrove.py`)

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::time::Instant;

use loam_corpus::deduplicate::{Clusters, MinHasher, NearDuplicates, NearOptions, jaccard};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// Similarities that are planted.
const LEVELS: [f64; 10] = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];
/// Words of a document: about 2 KB.
const WORDS: usize = 304;
const SHINGLE: usize = 5;
/// Documents of which pairs are made, of ten.
const PAIRED: u64 = 8;
const BATCH: u64 = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| arguments.iter().position(|word| word == name).and_then(|at| arguments.get(at + 1));
    let number = |name, default| value(name).map_or(Ok(default), |word| word.parse::<u64>());
    let threads = number("--threads", 0)? as usize;
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let corpus = Corpus::new(number("--documents", 100_000)?);
    match (value("--read"), value("--write")) {
        (Some(from), _) => remove(from, value("--out").ok_or("--read FILE needs --out FILE")?),
        (None, Some(to)) => corpus.write(to),
        (None, None) => corpus.measure(),
    }
}

/// Documents that follow from their numbers.
struct Corpus {
    documents: u64,
    vocabulary: Vec<String>,
}

/// Numbers that follow from a seed (SplitMix64).
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((word ^ (word >> 31)) % bound as u64) as usize
    }
}

impl Corpus {
    fn new(documents: u64) -> Self {
        let mut draws = Draws(1);
        let vocabulary = (0..30_000)
            .map(|_| (0..2 + draws.below(8)).map(|_| (b'a' + draws.below(26) as u8) as char).collect())
            .collect();
        Self { documents, vocabulary }
    }

    /// How many pairs there are: documents 0 and 1, 2 and 3, and so on.
    fn pairs(&self) -> u64 {
        self.documents * PAIRED / 10 / 2
    }

    /// Shingles that both documents of a pair have, of the `WORDS + 1 - SHINGLE` of each.
    fn shared(pair: u64) -> usize {
        let level = LEVELS[(pair % LEVELS.len() as u64) as usize];
        let shingles = (WORDS + 1 - SHINGLE) as f64;
        (2.0 * shingles * level / (1.0 + level)).round() as usize
    }

    /// The similarity that this makes.
    fn similarity(pair: u64) -> f64 {
        let shared = Self::shared(pair) as f64;
        shared / (2.0 * (WORDS + 1 - SHINGLE) as f64 - shared)
    }

    fn text(&self, number: u64) -> String {
        let paired = number / 2 < self.pairs();
        let mut draws = Draws(if paired { number / 2 } else { number }.wrapping_mul(0xD134_2543_DE82_EF95));
        let mut words: Vec<usize> = (0..WORDS).map(|_| draws.below(self.vocabulary.len())).collect();
        if paired && number % 2 == 1 {
            // A run of m other words costs m + 4 shingles; a few runs with space between them cost what is to be lost.
            let lost = WORDS + 1 - SHINGLE - Self::shared(number / 2);
            let runs = (lost / (2 * SHINGLE)).clamp(1, 4);
            let room = (WORDS - 2 * SHINGLE) / runs;
            for run in 0..runs {
                let length = lost / runs + usize::from(run < lost % runs) - (SHINGLE - 1);
                let begin = SHINGLE + run * room + draws.below(room - length - SHINGLE);
                for word in &mut words[begin..begin + length] {
                    *word = (*word + 1 + draws.below(self.vocabulary.len() - 1)) % self.vocabulary.len();
                }
            }
        }
        let mut text = String::with_capacity(WORDS * 8);
        for (place, word) in words.into_iter().enumerate() {
            text.push_str(&self.vocabulary[word]);
            text.push_str(if place % 16 == 15 { ".\n" } else { " " });
        }
        text
    }

    fn write(&self, path: &str) -> Result<(), Box<dyn Error>> {
        let mut file = BufWriter::new(File::create(path)?);
        for number in 0..self.documents {
            let record = serde_json::json!({ "id": number.to_string(), "text": self.text(number) });
            writeln!(file, "{record}")?;
        }
        Ok(file.flush()?)
    }

    fn measure(&self) -> Result<(), Box<dyn Error>> {
        let options = NearOptions::default();
        let mut near = NearDuplicates::new(&options)?;
        let (mut making, mut hashing, mut bytes) = (0.0, 0.0, 0);
        for begin in (0..self.documents).step_by(BATCH as usize) {
            let clock = Instant::now();
            let end = self.documents.min(begin + BATCH);
            let batch: Vec<(u64, String)> =
                (begin..end).into_par_iter().map(|number| (number, self.text(number))).collect();
            bytes += batch.iter().map(|(_, text)| text.len()).sum::<usize>();
            making += clock.elapsed().as_secs_f64();
            let clock = Instant::now();
            near.add_all(&batch)?;
            hashing += clock.elapsed().as_secs_f64();
        }
        let clock = Instant::now();
        let clusters = near.finish()?;
        let clustering = clock.elapsed().as_secs_f64();
        println!(
            "{} documents, {:.1} MB, {} threads: made in {making:.2} s, hashed in {hashing:.2} s ({:.0} MB/s), clustered in \
             {clustering:.2} s; {:.0} documents/s in all; most memory {}",
            self.documents,
            bytes as f64 / 1e6,
            rayon::current_num_threads(),
            bytes as f64 / 1e6 / hashing,
            self.documents as f64 / (hashing + clustering),
            most_memory(),
        );
        self.compare(&clusters, &options)
    }

    fn compare(&self, clusters: &Clusters, options: &NearOptions) -> Result<(), Box<dyn Error>> {
        let hasher = MinHasher::new(&options.minhash)?;
        println!("similarity  pairs    recall   theory   difference");
        let mut right = 0;
        for level in 0..LEVELS.len() as u64 {
            let pairs: Vec<u64> = (level..self.pairs()).step_by(LEVELS.len()).collect();
            // What was planted, measured on some.
            for &pair in pairs.iter().take(200) {
                let [one, other] = [0, 1].map(|side| hasher.shingles(&self.text(pair * 2 + side)));
                assert!((jaccard(&one, &other) - Self::similarity(pair)).abs() < 0.002, "not as planted");
            }
            let found = pairs
                .iter()
                .filter(|pair| {
                    let cluster = clusters.verdict(*pair * 2).cluster;
                    cluster.is_some() && cluster == clusters.verdict(*pair * 2 + 1).cluster
                })
                .count();
            right += found as u64;
            let (similarity, count) = (Self::similarity(level), pairs.len().max(1) as f64);
            let (recall, theory) = (found as f64 / count, options.minhash.probability(similarity));
            println!(
                "{similarity:<10.4}  {:<7}  {recall:<7.4}  {theory:<7.4}  {:+.2} points",
                pairs.len(),
                (recall - theory) * 100.0
            );
        }
        let united: u64 =
            clusters.list().map(|cluster| cluster.members.len() as u64).map(|size| size * (size - 1) / 2).sum();
        println!(
            "precision   {:.6} ({right} of {united} pairs in {} clusters)",
            right as f64 / united as f64,
            clusters.count()
        );
        Ok(())
    }
}

/// Removes the near duplicates of a file of JSON lines with `text`.
fn remove(from: &str, to: &str) -> Result<(), Box<dyn Error>> {
    let clock = Instant::now();
    let mut near = NearDuplicates::new(&NearOptions::default())?;
    let mut documents = 0;
    let mut batch = Vec::new();
    for line in BufReader::with_capacity(1 << 20, File::open(from)?).lines() {
        let mut record: HashMap<String, serde_json::Value> = serde_json::from_str(&line?)?;
        let Some(serde_json::Value::String(text)) = record.remove("text") else { return Err("no text".into()) };
        batch.push((documents, text));
        documents += 1;
        if batch.len() as u64 == BATCH {
            near.add_all(&batch)?;
            batch.clear();
        }
    }
    near.add_all(&batch)?;
    let hashed = clock.elapsed().as_secs_f64();
    let clusters = near.finish()?;
    let clustered = clock.elapsed().as_secs_f64();
    let mut out = BufWriter::with_capacity(1 << 20, File::create(to)?);
    for (number, line) in BufReader::with_capacity(1 << 20, File::open(from)?).lines().enumerate() {
        if clusters.verdict(number as u64).kept {
            writeln!(out, "{}", line?)?;
        }
    }
    out.flush()?;
    let seconds = clock.elapsed().as_secs_f64();
    let stages = [hashed, clustered - hashed, seconds - clustered];
    let result = serde_json::json!({
        "documents": documents,
        "kept": documents - clusters.removed(),
        "seconds": seconds,
        "stages": { "read and hash": stages[0], "cluster": stages[1], "filter": stages[2] },
        "memory": most_memory(),
    });
    println!("{result}");
    Ok(())
}

/// The most memory that this process has taken, where the system says so.
fn most_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.map_or("unknown".to_owned(), |kilobytes| format!("{:.0} MB", kilobytes * 1024.0 / 1e6))
}
