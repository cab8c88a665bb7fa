//! `loam study order`.

use super::Misuse;
use super::experiment::{self, Kind};
use crate::arguments::{Global, OrderArguments};
use crate::terminal::Terminal;
use loam_influence::studies::{Order, grids};
use std::process::ExitCode;

const KIND: Kind = Kind {
    name: "order",
    title: "What the order of documents does",
    treats_text: false,
    predicts: false,
    compares: true,
};

pub fn run(arguments: &OrderArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let order = |name: &String| {
        Order::ALL.into_iter().find(|order| order.name() == name.trim()).ok_or_else(|| {
            let names: Vec<&str> = Order::ALL.iter().map(|order| order.name()).collect();
            Misuse(format!("--orders {name}: the orders are {}", names.join(", ")))
        })
    };
    let orders: Vec<Order> = arguments.orders.iter().map(order).collect::<Result<_, _>>()?;
    let made = experiment::make(KIND, &arguments.runs, &arguments.fit, global, terminal, |recipe, base, seeds| {
        grids::plan_order(recipe, base, seeds, &orders)
    })?;
    match made {
        Ok(made) => {
            experiment::tell(KIND, &made, &arguments.runs, terminal)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(code) => Ok(code),
    }
}
