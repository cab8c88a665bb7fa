//! The answer in words: what was trained on what, what it reached, which data did it, and how far to trust that. Every
//! sentence is made from numbers, and says so where a number is missing.

use loam_influence::ledger::{Books, DomainSummary, LedgerSummary, LineSummary};

use super::data::Copies;
use crate::facts::{DomainLoss, Facts};
use crate::numbers::{self, counted, listed};
use crate::svg::escape;

/// Most domains that are told one by one.
const DOMAINS: usize = 4;
/// Most sources that are named in a list.
const NAMED: usize = 8;

/// Paragraphs as safe HTML: first what was trained and reached, then what the data did.
pub(super) fn paragraphs(facts: &Facts, books: Option<&LedgerSummary>) -> Vec<String> {
    if let Some(task) = &facts.task {
        let told = [Some(trained(facts)), ended(facts), Some(super::task::sentence(task))];
        return vec![told.into_iter().flatten().collect::<Vec<_>>().join(" ")];
    }
    let reached: Vec<String> =
        [Some(trained(facts)), ended(facts), Some(losses(facts))].into_iter().flatten().collect();
    let mut did: Vec<String> = Vec::new();
    let books = books.filter(|books| !books.domains.is_empty());
    if let Some(books) = books {
        did.extend(books.domains.iter().take(DOMAINS).filter_map(sources));
        did.extend(turned(books));
    }
    did.extend(copies(facts, books));
    did.push(books.map_or_else(|| "There is no ledger to say what each source did.".to_owned(), closing));
    [reached.join(" "), did.join(" ")].into_iter().filter(|paragraph| !paragraph.is_empty()).collect()
}

/// A name from the data, made safe and set apart.
fn strong(name: &str) -> String {
    format!("<strong>{}</strong>", escape(name))
}

fn trained(facts: &Facts) -> String {
    let model = match &facts.model {
        Some(model) => format!(
            "A {} model of {} parameters was trained",
            escape(&model.family.to_uppercase()),
            numbers::compact(model.parameters as f64)
        ),
        None if facts.tokens > 0 => "A model was trained".to_owned(),
        None => return "The run’s events do not say what was trained.".to_owned(),
    };
    let mut names: Vec<String> = facts.sources.iter().map(|source| escape(&source.name)).collect();
    let rest = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    if rest > 0 {
        names.push(counted(rest as u64, "other", "others"));
    }
    let on = match facts.sources.len() {
        0 => String::new(),
        1 => format!(" from one source, {}", names[0]),
        count => format!(" from {count} sources ({})", listed(&names)),
    };
    let time = facts.seconds.map(|seconds| format!(" for {}", numbers::duration(seconds))).unwrap_or_default();
    let device = facts.sessions.last().map(|session| format!(" on {}", device(&session.device))).unwrap_or_default();
    format!("{model} on {} tokens{on}{time}{device}.", numbers::compact(facts.tokens as f64))
}

fn device(name: &str) -> String {
    if name == "cpu" { "the processor".to_owned() } else { escape(name) }
}

/// How the run ended, where it is not simply done.
fn ended(facts: &Facts) -> Option<String> {
    let planned = facts.plan.map(|plan| format!(" of {}", numbers::grouped(plan.0))).unwrap_or_default();
    let at = format!("step {}{planned}", numbers::grouped(facts.step));
    match facts.finish.as_ref().map(|finish| finish.reason.as_str()) {
        Some("done") => None,
        Some("interrupted") => Some(format!("It was interrupted at {at}.")),
        Some("early_stop") => Some(format!(
            "It stopped early, at {at}, because {} no further.",
            if facts.task.is_some() { "what was measured rose" } else { "the held-out loss fell" }
        )),
        Some("non_finite") => {
            let good = facts.best_checkpoint.as_ref().map_or_else(String::new, |(step, path)| {
                format!(" The last good checkpoint is {} (step {}).", escape(path), numbers::grouped(*step))
            });
            Some(format!("It stopped at {at} because the loss was no longer a number.{good}"))
        }
        Some(other) => Some(format!("It ended at {at} ({}).", escape(other))),
        None => Some(format!("It has not finished: its records end at {at}.")),
    }
}

fn losses(facts: &Facts) -> String {
    if facts.losses.is_empty() {
        return "No held-out loss was recorded.".to_owned();
    }
    let mut parts: Vec<String> =
        facts.losses.iter().take(DOMAINS).filter_map(|loss| domain_loss(loss, facts)).collect();
    let rest = facts.losses.len().saturating_sub(DOMAINS);
    if rest > 0 {
        parts.push(format!("{} below", counted(rest as u64, "more domain is", "more domains are")));
    }
    format!("{}.", capitalized(&parts.join("; ")))
}

fn domain_loss(loss: &DomainLoss, facts: &Facts) -> Option<String> {
    let (first, last) = (loss.evaluations.first()?, loss.evaluations.last()?);
    let name = strong(&loss.domain);
    let bits = last.bits_per_byte.filter(|bits| bits.is_finite());
    let bits = bits.map(|bits| format!(", {} bits a byte", numbers::fixed(bits, 2))).unwrap_or_default();
    let right = last.accuracy.map(|share| format!(", {} of its tokens right", numbers::percent(share)));
    let bits = bits + &right.unwrap_or_default();
    let words = if loss.evaluations.len() > 1 {
        let verb = if last.loss < first.loss { "fell" } else { "rose" };
        let (from, to) = (numbers::fixed(first.loss, 2), numbers::fixed(last.loss, 2));
        format!("held-out loss on {name} {verb} from {from} to {to} nats a token{bits}")
    } else {
        format!("held-out loss on {name} was {} nats a token{bits}", numbers::fixed(last.loss, 2))
    };
    let Some(best) = facts.baselines_of(&loss.domain).pop() else { return Some(words) };
    let relation = if last.loss < best.loss { "better than" } else { "not yet as good as" };
    Some(format!("{words} ({relation} the {} model’s {})", escape(&best.name), numbers::fixed(best.loss, 2)))
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// Which source helped a domain most for its tokens, and which least.
fn sources(domain: &DomainSummary) -> Option<String> {
    let (most, least) = (domain.most_helpful_per_token()?, domain.least_helpful_per_token()?);
    if most.line == least.line {
        return None;
    }
    let rate = |line: &LineSummary| line.value_per_million_tokens.map(numbers::rough).unwrap_or_default();
    let (name, most_name, least_name) = (strong(&domain.domain), strong(most.line.name()), strong(least.line.name()));
    let (most_rate, least_rate) = (rate(most), rate(least));
    Some(match (most.value > 0.0, least.value < 0.0) {
        (true, false) => format!(
            "Token for token, held-out {name} was helped most by {most_name} ({most_rate} nats for every million tokens) \
             and least by {least_name} ({least_rate})."
        ),
        (true, true) => format!(
            "Token for token, held-out {name} was helped most by {most_name} ({most_rate} nats for every million tokens) \
             and hurt by {least_name} ({least_rate})."
        ),
        (false, _) => format!(
            "No source helped held-out {name}; token for token, {least_name} hurt it most ({least_rate} nats for every \
             million tokens)."
        ),
    })
}

/// Sources that helped over the whole run and hurt over its later half, the worst of each domain.
fn turned(books: &LedgerSummary) -> Option<String> {
    let mut harm: Vec<(&str, Vec<String>)> = Vec::new();
    for domain in &books.domains {
        let worst = domain
            .sources()
            .filter(|line| line.value > 0.0 && line.late_value < 0.0 && -line.late_value > 0.001 * domain.booked.abs())
            .min_by(|left, right| left.late_value.total_cmp(&right.late_value));
        let Some(line) = worst else { continue };
        let words = format!("on {} by {}", strong(&domain.domain), numbers::rough(-line.late_value));
        match harm.iter_mut().find(|(source, _)| *source == line.line.name()) {
            Some((_, domains)) => domains.push(words),
            None => harm.push((line.line.name(), vec![words])),
        }
    }
    let parts: Vec<String> = harm
        .into_iter()
        .map(|(source, domains)| format!("{} raised the loss {} nats", strong(source), listed(&domains)))
        .collect();
    (!parts.is_empty()).then(|| format!("Over the later half of the run {}.", listed(&parts)))
}

/// What duplicates cost.
fn copies(facts: &Facts, books: Option<&LedgerSummary>) -> Option<String> {
    let copies = Copies::count(&facts.sources)?;
    if copies.duplicates == 0 {
        return Some("No training document is an exact copy of another.".to_owned());
    }
    let worst = copies.worst?;
    let words = format!(
        "Exact copies are {} of all training documents, and {} of the bytes of {}",
        numbers::percent(copies.duplicates as f64 / copies.documents.max(1) as f64),
        numbers::percent(worst.share),
        strong(&worst.name)
    );
    let took = books.and_then(|books| {
        let domains: Vec<(&str, f64)> = books
            .domains
            .iter()
            .take(DOMAINS)
            .filter_map(|domain| {
                let line = domain.sources().find(|line| line.line.name() == worst.name)?;
                Some((domain.domain.as_str(), line.share_of_value?))
            })
            .collect();
        let line = books.domains.first()?.sources().find(|line| line.line.name() == worst.name)?;
        let gave: Vec<String> =
            domains.iter().map(|(name, share)| format!("{} on {}", numbers::percent(*share), strong(name))).collect();
        (!gave.is_empty()).then_some((line.share_of_tokens?, gave))
    });
    Some(match took {
        Some((tokens, gave)) => format!(
            "{words}; that source took {} of the training tokens and gave, of all that the sources brought down, {}.",
            numbers::percent(tokens),
            listed(&gave)
        ),
        None => words + ".",
    })
}

fn closing(books: &LedgerSummary) -> String {
    let with = |verdict: Books| -> Vec<String> {
        books
            .domains
            .iter()
            .filter(|domain| domain.books == verdict)
            .map(|domain| {
                let residual = domain.residual_share.map(|share| format!(" (residual {})", numbers::percent(share)));
                format!("{}{}", strong(&domain.domain), residual.unwrap_or_default())
            })
            .collect()
    };
    let (closed, open, undecided) = (with(Books::Closed), with(Books::Open), with(Books::Undecided));
    let mut sentences = Vec::new();
    if !closed.is_empty() {
        sentences.push(format!("The books close on {}.", listed(&closed)));
    }
    if !open.is_empty() {
        sentences.push(format!("The books do not close on {}: read those values as rough.", listed(&open)));
    }
    if !undecided.is_empty() {
        sentences.push(format!("Whether the books close on {} is not known.", listed(&undecided)));
    }
    sentences.join(" ")
}
