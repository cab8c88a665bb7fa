//! The command line of Loam: arguments in, library calls, words and exit codes out.
//!
//! Results go to standard output; words, progress and warnings to standard error. Exit codes: 0 done, 1 failed,
//! 2 misused, 130 interrupted with the work saved.
#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod machine;
mod progress;
mod terminal;

use arguments::{Arguments, BenchCommand, Command, DataCommand, EvalCommand, TokenizerCommand};
use clap::Parser;
use loam_kernels::kept_blocks::KeptBlocks;
use loam_nn::precision::with_precision;
use mimalloc::MiMalloc;
use std::process::ExitCode;

// Large blocks stay with the process between steps, by their size; the system's allocator gives them back and takes them again, a
// page fault a page.
#[global_allocator]
static ALLOCATOR: KeptBlocks<MiMalloc> = KeptBlocks::new(MiMalloc);

fn main() -> ExitCode {
    loam_kernels::allocator::keep_freed_memory();
    let arguments = Arguments::parse();
    let terminal = terminal::Terminal::new(arguments.global.quiet, arguments.global.json);
    if let Err(message) = machine::set_threads(arguments.global.threads) {
        terminal.error(message);
        return ExitCode::from(2);
    }
    let global = &arguments.global;
    if let Err(message) = commands::check_dtype(&arguments) {
        terminal.error(message);
        return ExitCode::from(2);
    }
    if global.offline {
        loam_hub::set_offline(true);
    }
    progress::tell_of_downloads(terminal);
    let result = with_precision(global.precision(), || match &arguments.command {
        None => commands::demo::run(&arguments::DemoArguments::default(), global, terminal),
        Some(Command::Demo(demo)) => commands::demo::run(demo, global, terminal),
        Some(Command::Train(train)) => commands::train::run(train, global, terminal),
        Some(Command::FineTune(finetune)) => commands::finetune::run(finetune, global, terminal),
        Some(Command::Eval(EvalCommand::Classify(eval))) => commands::eval::classify::run(eval, global, terminal),
        Some(Command::Eval(EvalCommand::Tag(eval))) => commands::eval::tag::run(eval, global, terminal),
        Some(Command::Eval(EvalCommand::Answer(eval))) => commands::eval::answer::run(eval, global, terminal),
        Some(Command::Answer(answer)) => commands::answer::run(answer, global, terminal),
        Some(Command::Eval(EvalCommand::LanguageModel(eval))) => {
            commands::eval::language_model::run(eval, global, terminal)
        }
        Some(Command::Eval(EvalCommand::Translate(eval))) => commands::eval::translate::run(eval, global, terminal),
        Some(Command::Eval(EvalCommand::Summarize(eval))) => commands::eval::summarize::run(eval, global, terminal),
        Some(Command::Eval(EvalCommand::Chat(eval))) => commands::eval::chat::run(eval, global, terminal),
        Some(Command::Summarize(summarize)) => commands::summarize::run(summarize, global, terminal),
        Some(Command::Translate(translate)) => commands::translate::run(translate, global, terminal),
        Some(Command::Tag(tag)) => commands::tag::run(tag, global, terminal),
        Some(Command::Classify(classify)) => commands::classify::run(classify, global, terminal),
        Some(Command::Chat(chat)) => commands::chat::run(chat, global, terminal),
        Some(Command::Generate(generate)) => commands::generate::run(generate, global, terminal),
        Some(Command::Score(score)) => commands::score::run(score, global, terminal),
        Some(Command::Embed(embed)) => commands::embed::run(embed, global, terminal),
        Some(Command::Search(search)) => commands::search::run(search, global, terminal),
        Some(Command::Eval(EvalCommand::Embed(eval))) => commands::eval::embed::run(eval, global, terminal),
        Some(Command::FillMask(fill)) => commands::fill_mask::run(fill, global, terminal),
        Some(Command::Import(import)) => commands::exchange::import(import, global, terminal),
        Some(Command::Export(export)) => commands::exchange::export(export, global, terminal),
        Some(Command::Inspect(inspect)) => commands::inspect_model::run(inspect, terminal),
        Some(Command::Tokenizer(TokenizerCommand::Train(train))) => commands::tokenizer::train(train, global, terminal),
        Some(Command::Word2Vec(command)) => commands::word2vec::run(command, terminal),
        Some(Command::Data(DataCommand::Inspect(inspect))) => commands::inspect::run(inspect, global, terminal),
        Some(Command::Data(DataCommand::Prepare(prepare))) => commands::prepare::run(prepare, global, terminal),
        Some(Command::Data(DataCommand::Split(split))) => commands::split::run(split, terminal),
        Some(Command::Data(DataCommand::Why(why))) => commands::why::run(why, terminal),
        Some(Command::Scheduler(scheduler)) => commands::cluster::scheduler(scheduler, terminal),
        Some(Command::Worker(worker)) => commands::cluster::worker(worker, global, terminal),
        Some(Command::Influence(influence)) => commands::influence::run(influence, global, terminal),
        Some(Command::Study(study)) => commands::study::run(study, global, terminal),
        Some(Command::Report(report)) => commands::report::run(report, global, terminal),
        Some(Command::Runs(runs)) => commands::runs::run(runs, global, terminal),
        Some(Command::Query(query)) => commands::query::run(query, global, terminal),
        Some(Command::Bench(BenchCommand::Train(bench))) => commands::bench::train(bench, global, terminal),
        Some(Command::Bench(BenchCommand::Kernels(bench))) => commands::bench::kernels(bench, terminal),
        Some(Command::Doctor) => commands::doctor::run(global, terminal),
        Some(Command::Completions(completions)) => commands::completions::run(completions),
    });
    match result {
        Ok(code) => code,
        Err(error) if terminal::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            terminal.error(terminal::in_words(&error));
            ExitCode::from(commands::exit_code(&error))
        }
    }
}
