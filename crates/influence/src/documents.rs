//! What single documents did: the values that a run left in `document_values.parquet`, best and worst first, and whether they
//! sum to what the ledger booked to their sources.
//!
//! The value of a document for held-out domain *d* is what its targets took off the domain's loss,
//!
//! ```text
//! value(document, d) = Σ_steps η c / n Σ_targets ⟨P ⊙ ḡ_d, ∂ℓ_target⟩
//! ```
//!
//! in nats a held-out token, with η the learning rate, c the factor of clipping, n the step's targets and P Adam's
//! denominators (`loam_train::ledger::DocumentBooks`): In-Run Data Shapley (Wang et al., 2024, eq. 4) for the optimizer that is
//! used. Only part of the micro-batches is scored, so a value is an estimate with a standard error, and documents of which
//! nothing was scored have none. A document that was scored once has an error as large as its value: rankings of single
//! documents want a high `ledger.documents_rate`, sums over many do not.
//!
//! ```no_run
//! # fn main() -> Result<(), loam_influence::InfluenceError> {
//! let values = loam_influence::documents::read(std::path::Path::new("runs/demo"))?;
//! for domain in values.domains() {
//!     for document in values.best(domain, 5) {
//!         println!("{} {:+.6} ± {:.6}", document.id, document.value, document.standard_error);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use loam_corpus::{Prepared, locate_documents};
use loam_train::record::DocumentSumRow;
use loam_train::{Recipe, Run};
use serde::Serialize;

use crate::ledger::{Ledger, Line};
use crate::{InfluenceError, columns};

/// Tokens of a document that are decoded at most for each character that is asked for.
const TOKENS_A_CHARACTER: usize = 4;

/// What a document did to one domain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValuedDocument {
    /// Its id in `documents.parquet`; empty for the tokens of a source that belong to no document there.
    pub id: String,
    /// Its source.
    pub source: String,
    /// Nats a held-out token by which it brought the loss down over the run, as estimated; positive is helpful.
    pub value: f64,
    /// Standard error of the value, in nats.
    pub standard_error: f64,
    /// Its targets that were trained on, as often as they were.
    pub tokens_trained: u64,
    /// Those of them that were scored.
    pub tokens_scored: u64,
    /// What a scored target brought down, in nats, on average; none where nothing was scored.
    pub value_per_token: Option<f64>,
}

/// Whether the documents of a source sum to what was booked to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DocumentClosing {
    /// The source.
    pub source: String,
    /// The held-out domain.
    pub domain: String,
    /// Sum of its documents' values, in nats a held-out token.
    pub documents: f64,
    /// Standard error of the sum: what comes of scoring some micro-batches only.
    pub standard_error: f64,
    /// What the ledger booked to the source; none where there is no ledger to compare with.
    pub booked: Option<f64>,
    /// `booked` − `documents`: chance, dropout, and what the approximations leave.
    pub residual: Option<f64>,
    /// Targets trained on.
    pub tokens_trained: u64,
    /// Targets scored.
    pub tokens_scored: u64,
}

impl DocumentClosing {
    /// The residual in standard errors; none without either. Below 2 or so, chance explains it.
    pub fn deviations(&self) -> Option<f64> {
        self.residual.filter(|_| self.standard_error > 0.0).map(|residual| residual / self.standard_error)
    }
}

/// Where a document is from, and how it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DocumentText {
    /// The file that it is from.
    pub path: String,
    /// Its first characters, as the tokenizer writes its tokens back; empty where the tokens are gone.
    pub text: String,
}

/// A document's numbers, but for its values.
#[derive(Clone, Debug)]
struct Document {
    id: String,
    source: u32,
    tokens_trained: u64,
    tokens_scored: u64,
}

/// A value, its standard error, and what was scored of it.
#[derive(Clone, Copy, Debug, Default)]
struct Estimate {
    value: f64,
    standard_error: f64,
    value_scored: f64,
}

/// The values of a run's documents. Memory: some 60 bytes a document, and 24 a document and domain.
#[derive(Clone, Debug)]
pub struct DocumentValues {
    run: Run,
    sources: Vec<String>,
    domains: Vec<String>,
    documents: Vec<Document>,
    /// Of each document, of each domain.
    estimates: Vec<Estimate>,
    sums: Vec<DocumentSumRow>,
    /// What the ledger booked, by source and domain.
    booked: HashMap<(String, String), f64>,
}

/// Whether the run in `folder` has values of documents.
pub fn are_in(folder: &Path) -> bool {
    folder.join("document_values.parquet").is_file()
}

/// Reads the values of the run in `folder`.
///
/// # Errors
/// [`InfluenceError::Train`] where there is no run, [`InfluenceError::Open`] where it left no values of documents, and
/// [`InfluenceError::Parquet`] or [`InfluenceError::Column`] where a table is damaged or not of Loam's making.
pub fn read(folder: &Path) -> Result<DocumentValues, InfluenceError> {
    let run = Run::open(folder)?;
    let mut values = DocumentValues {
        sources: Vec::new(),
        domains: Vec::new(),
        documents: Vec::new(),
        estimates: Vec::new(),
        sums: read_sums(&run.document_sums())?,
        booked: HashMap::new(),
        run,
    };
    for sum in &values.sums {
        intern(&mut values.sources, &sum.source);
        intern(&mut values.domains, &sum.domain);
    }
    let path = values.run.document_values();
    columns::read(&path, |batch| values.take(batch))?;
    if values.run.ledger().exists() {
        for domain in Ledger::read(&values.run.ledger())?.summary().domains {
            for line in domain.lines {
                if let Line::Source(source) = line.line {
                    values.booked.insert((source, domain.domain.clone()), line.value);
                }
            }
        }
    }
    Ok(values)
}

/// The place of a name in a list, to which it is added where it is new.
fn intern(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|other| other == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

fn read_sums(path: &Path) -> Result<Vec<DocumentSumRow>, InfluenceError> {
    let mut rows = Vec::new();
    columns::read(path, |batch| {
        let (sources, domains) = (batch.texts("source")?, batch.texts("domain")?);
        let (value, error, rate) = (batch.floats("value")?, batch.floats("standard_error")?, batch.floats("rate")?);
        let (trained, scored) = (batch.integers("tokens_trained")?, batch.integers("tokens_scored")?);
        rows.extend(sources.into_iter().zip(domains).enumerate().map(|(index, (source, domain))| DocumentSumRow {
            source,
            domain,
            value: value[index],
            standard_error: error[index],
            tokens_trained: trained[index],
            tokens_scored: scored[index],
            rate: rate[index],
        }));
        Ok(())
    })?;
    Ok(rows)
}

impl DocumentValues {
    /// Takes in rows: those of a document stand together.
    fn take(&mut self, batch: &columns::Columns) -> Result<(), InfluenceError> {
        let (ids, sources, domains) = (batch.texts("id")?, batch.texts("source")?, batch.texts("domain")?);
        let (value, error) = (batch.floats("value")?, batch.floats("standard_error")?);
        let (trained, scored) = (batch.integers("tokens_trained")?, batch.integers("tokens_scored")?);
        let alone = batch.floats("value_scored")?;
        for (row, ((id, source), domain)) in ids.into_iter().zip(sources).zip(domains).enumerate() {
            let source = intern(&mut self.sources, &source) as u32;
            let before = self.domains.len();
            let domain = intern(&mut self.domains, &domain);
            if self.domains.len() > before {
                self.widen(before);
            }
            if self.documents.last().is_none_or(|last| last.id != id || last.source != source) {
                let (tokens_trained, tokens_scored) = (trained[row], scored[row]);
                self.documents.push(Document { id, source, tokens_trained, tokens_scored });
                self.estimates.resize(self.documents.len() * self.domains.len(), Estimate::default());
            }
            let place = (self.documents.len() - 1) * self.domains.len() + domain;
            let estimate = Estimate { value: value[row], standard_error: error[row], value_scored: alone[row] };
            self.estimates[place] = estimate;
        }
        Ok(())
    }

    /// Makes room for a domain that the table of sums does not name.
    fn widen(&mut self, before: usize) {
        let wider = |row: &[Estimate]| row.iter().copied().chain([Estimate::default()]).collect::<Vec<_>>();
        self.estimates = match before {
            0 => vec![Estimate::default(); self.documents.len()],
            before => self.estimates.chunks(before).flat_map(wider).collect(),
        };
    }

    /// The held-out domains.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.iter().map(String::as_str)
    }

    /// Documents that have a value.
    pub fn count(&self) -> usize {
        self.documents.iter().filter(|document| !document.id.is_empty()).count()
    }

    /// Share of the micro-batches that were scored; none where nothing was.
    pub fn rate(&self) -> Option<f64> {
        self.sums.first().map(|sum| sum.rate)
    }

    /// The `most` documents that brought the loss on a domain down furthest, the best first; empty for a domain that there is
    /// not.
    pub fn best(&self, domain: &str, most: usize) -> Vec<ValuedDocument> {
        self.extreme(domain, most, |value| -value)
    }

    /// The `most` documents that brought it down least, or up furthest, the worst first.
    pub fn worst(&self, domain: &str, most: usize) -> Vec<ValuedDocument> {
        self.extreme(domain, most, |value| value)
    }

    fn extreme(&self, domain: &str, most: usize, key: impl Fn(f64) -> f64) -> Vec<ValuedDocument> {
        let Some(domain) = self.domains.iter().position(|name| name == domain) else { return Vec::new() };
        let known = self.documents.iter().enumerate().filter(|(_, document)| !document.id.is_empty());
        let estimate = |document: usize| self.estimates[document * self.domains.len() + domain];
        let mut order: Vec<(f64, usize)> = known
            .map(|(document, _)| (key(estimate(document).value), document))
            .filter(|(key, _)| key.is_finite())
            .collect();
        let by_key = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        if order.len() > most {
            order.select_nth_unstable_by(most, by_key);
            order.truncate(most);
        }
        order.sort_by(by_key);
        order.into_iter().map(|(_, document)| self.valued(document, estimate(document))).collect()
    }

    fn valued(&self, document: usize, estimate: Estimate) -> ValuedDocument {
        let Document { id, source, tokens_trained, tokens_scored } = &self.documents[document];
        ValuedDocument {
            id: id.clone(),
            source: self.sources[*source as usize].clone(),
            value: estimate.value,
            standard_error: estimate.standard_error,
            tokens_trained: *tokens_trained,
            tokens_scored: *tokens_scored,
            value_per_token: (*tokens_scored > 0).then(|| estimate.value_scored / *tokens_scored as f64),
        }
    }

    /// Each source's sum over its documents beside what the ledger booked to it, for each domain.
    pub fn closing(&self) -> Vec<DocumentClosing> {
        let closing = |sum: &DocumentSumRow| {
            let booked = self.booked.get(&(sum.source.clone(), sum.domain.clone())).copied();
            DocumentClosing {
                source: sum.source.clone(),
                domain: sum.domain.clone(),
                documents: sum.value,
                standard_error: sum.standard_error,
                booked,
                residual: booked.map(|booked| booked - sum.value),
                tokens_trained: sum.tokens_trained,
                tokens_scored: sum.tokens_scored,
            }
        };
        self.sums.iter().map(closing).collect()
    }

    /// Where documents are from and the first `characters` of each, by their id, out of `documents.parquet` and the tokens
    /// that the run was trained on. Ids that the table does not have are left out; where the tokens are gone, texts are empty.
    ///
    /// # Errors
    /// [`InfluenceError::Corpus`] where the table of documents cannot be read.
    pub fn texts(&self, ids: &[&str], characters: usize) -> Result<BTreeMap<String, DocumentText>, InfluenceError> {
        let wanted: Vec<&str> = ids.iter().copied().filter(|id| !id.is_empty()).collect();
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let found = locate_documents(&self.run.documents(), &wanted)?;
        let prepared = Prepared::open(self.tokens()).ok();
        let text = |source: &str, start: usize, tokens: usize| -> Option<String> {
            let prepared = prepared.as_ref()?;
            let source = prepared.sources().iter().position(|other| other.name == source)?;
            let stream = prepared.train_stream(source);
            let end = start.checked_add(tokens.min(characters.saturating_mul(TOKENS_A_CHARACTER)))?;
            if end > stream.len() {
                return None;
            }
            let mut ids = Vec::new();
            stream.get(start..end, &mut ids);
            Some(prepared.tokenizer().decode(&ids).chars().take(characters).collect())
        };
        let texts = found.into_iter().map(|found| {
            let text = text(&found.source, found.token_start, found.tokens).unwrap_or_default();
            (found.id, DocumentText { path: found.path, text })
        });
        Ok(texts.collect())
    }

    /// The folder of the tokens that the run was trained on.
    fn tokens(&self) -> PathBuf {
        let recipe = Recipe::load(&self.run.recipe(), &[]).ok();
        recipe.and_then(|recipe| recipe.data.prepared).map_or_else(|| self.run.data(), |made| made.join("tokens"))
    }
}

#[cfg(test)]
mod tests;
