//! Text whose bytes were once read in another encoding than they were written in.
//!
//! UTF-8 that was read as Windows-1252 or Latin-1 shows two to four characters for one ("cafÃ©", "donâ€™t"), UTF-8 that was
//! read as GBK rare Chinese characters ("浣犲ソ"). Nothing is lost by such a reading: the characters give the bytes back,
//! and these the text. What has to be guessed is only whether a text was damaged, and it is guessed with care: a text that
//! is mended without need is spoiled. Of the Python package `ftfy`, whose question this is too, come the cases, not the
//! answer: `ftfy` looks for pairs of characters that are rare in any text, this module for whole sequences of UTF-8, and
//! asks of each whether its characters could stand where they do in a text that is right.

mod chinese;
mod western;

use std::borrow::Cow;

/// Damage upon damage is followed this far.
const ROUNDS: usize = 4;

/// The text as it was before its UTF-8 was read as Windows-1252, Latin-1 or GBK, once or several times over. Lines are
/// judged by themselves, so that a damaged quotation in a text that is right is mended alone.
///
/// Text that is right stays as it is, in any language. Where a sequence could be either (`CAFÉ”` may be capitals between
/// quotation marks), it is mended only in a line that is damaged for certain elsewhere and in which nothing speaks against
/// it. Bytes that are gone stay gone: 锟斤拷 and `â€` before U+FFFD are left alone, and in Chinese text of which GBK had some
/// bytes for nothing, the characters that those were of become U+FFFD. Control characters from U+0080 to U+009F, which no text means, become what
/// Windows-1252 has in their places.
///
/// Other encodings that UTF-8 is read as (Windows-1251, Mac OS Roman ...) are left alone, and so is text of any other
/// encoding that was read as Windows-1252.
pub fn mojibake(text: &str) -> Cow<'_, str> {
    let suspect = western::is_suspect(text) || chinese::is_suspect(text);
    if !suspect {
        return Cow::Borrowed(text);
    }
    let mut mended: Option<String> = None;
    for (at, line) in lines(text) {
        let mut now = Cow::Borrowed(line);
        for _ in 0..ROUNDS {
            let Some(next) = western::mend(&now).or_else(|| chinese::mend(&now)) else { break };
            now = Cow::Owned(next);
        }
        if let Some(visible) = western::without_controls(&now) {
            now = Cow::Owned(visible);
        }
        if let Some(mended) = &mut mended {
            mended.push_str(&now);
        } else if let Cow::Owned(line) = now {
            mended = Some(text[..at].to_owned() + &line);
        }
    }
    mended.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Lines with their ends, and where they begin.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split_inclusive('\n').map(move |line| {
        at += line.len();
        (at - line.len(), line)
    })
}

#[cfg(test)]
mod tests;
