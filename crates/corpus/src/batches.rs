//! Items in batches: the next batch is read while this one is worked on, and order is kept.

use rayon::prelude::*;

use crate::error::CorpusError;

/// Text in one batch, in bytes.
const BATCH_BYTES: usize = 4 << 20;
/// Items in one batch.
const BATCH_ITEMS: usize = 8192;

fn read_batch<I>(
    items: &mut impl Iterator<Item = Result<I, CorpusError>>,
    bytes_of: impl Fn(&I) -> usize,
) -> Result<Vec<I>, CorpusError> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while bytes < BATCH_BYTES
        && batch.len() < BATCH_ITEMS
        && let Some(item) = items.next()
    {
        let item = item?;
        bytes += bytes_of(&item);
        batch.push(item);
    }
    Ok(batch)
}

/// Applies `work` to every item in parallel and hands what it gives to `take`, in order, a batch at a time.
///
/// `bytes_of` says how much text an item holds; a batch holds about 4 MiB of it.
pub(crate) fn in_batches<I: Send, T: Send>(
    mut items: impl Iterator<Item = Result<I, CorpusError>> + Send,
    bytes_of: impl Fn(&I) -> usize + Sync,
    work: impl Fn(I) -> Option<T> + Sync,
    mut take: impl FnMut(Vec<T>) -> Result<(), CorpusError>,
) -> Result<(), CorpusError> {
    let mut batch = read_batch(&mut items, &bytes_of)?;
    while !batch.is_empty() {
        let (done, next) = rayon::join(
            || batch.into_par_iter().map(&work).collect::<Vec<Option<T>>>(),
            || read_batch(&mut items, &bytes_of),
        );
        take(done.into_iter().flatten().collect())?;
        batch = next?;
    }
    Ok(())
}
