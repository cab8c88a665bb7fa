//! `ledger.parquet` into rows and books.

use std::path::Path;

use loam_train::record::LedgerRow;

use super::book::Book;
use super::{LedgerSummary, Series};
use crate::{InfluenceError, columns};

/// A run's data ledger.
#[derive(Clone, Debug)]
pub struct Ledger {
    books: Vec<Book>,
}

impl Ledger {
    /// Reads `ledger.parquet` at `path`.
    pub fn read(path: &Path) -> Result<Self, InfluenceError> {
        Ok(Self::from_rows(&read_rows(path)?))
    }

    /// The ledger that `rows` make.
    pub fn from_rows(rows: &[LedgerRow]) -> Self {
        Self { books: Book::gather(rows) }
    }

    /// Whether nothing was booked.
    pub fn is_empty(&self) -> bool {
        self.books.iter().all(|book| book.entries.is_empty())
    }

    /// Held-out domains, in the order of the file.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.books.iter().map(|book| book.domain.as_str())
    }

    /// Totals over the whole run, a domain at a time.
    pub fn summary(&self) -> LedgerSummary {
        LedgerSummary::of(&self.books)
    }

    /// The lines of one domain over time, in at most `bins` bins of consecutive intervals; none for a domain that the
    /// ledger does not know.
    pub fn series(&self, domain: &str, bins: usize) -> Option<Series> {
        self.books.iter().find(|book| book.domain == domain).map(|book| Series::of(book, bins))
    }
}

/// The rows of `ledger.parquet` at `path`, as they stand in the file.
fn read_rows(path: &Path) -> Result<Vec<LedgerRow>, InfluenceError> {
    let mut rows = Vec::new();
    columns::read(path, |batch| {
        let from_step = batch.integers("from_step")?;
        let step = batch.integers("step")?;
        let mut domain = batch.texts("domain")?.into_iter();
        let mut line = batch.texts("line")?.into_iter();
        let mut source = batch.texts("source")?.into_iter();
        let value = batch.floats("value")?;
        let tokens = batch.integers("tokens")?;
        for index in 0..batch.rows() {
            rows.push(LedgerRow {
                from_step: from_step[index],
                step: step[index],
                domain: domain.next().unwrap_or_default(),
                line: line.next().unwrap_or_default(),
                source: source.next().unwrap_or_default(),
                value: value[index],
                tokens: tokens[index],
            });
        }
        Ok(())
    })?;
    Ok(rows)
}
