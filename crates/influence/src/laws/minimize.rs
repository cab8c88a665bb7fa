//! Minima of smooth functions of a few numbers: limited-memory BFGS (Liu and Nocedal, 1989, "On the limited memory BFGS
//! method for large scale optimization") with a search along each direction that meets the strong Wolfe conditions
//! (Nocedal and Wright, 2006, "Numerical Optimization", algorithms 3.5 and 3.6), in f64.
//!
//! Laws have five to nine parameters and are fitted thousands of times, so this stands here, in a few lines, and not in a crate
//! that brings a tree of traits with it.

use std::collections::VecDeque;

/// Pairs of steps and changes of the gradient that stand for the curvature.
const MEMORY: usize = 10;
/// A step must bring at least this part of what the slope promises (c₁).
const DECREASE: f64 = 1e-4;
/// The slope at a step's end may be at most this part of the slope at its beginning (c₂).
const CURVATURE: f64 = 0.9;
/// Evaluations of one search along a direction.
const SEARCH: usize = 40;

/// Where a search ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Minimum {
    /// The point.
    pub at: Vec<f64>,
    /// The function there.
    pub value: f64,
    /// The largest component of the gradient there, without its sign.
    pub slope: f64,
    /// Directions that were searched along.
    pub iterations: usize,
    /// Whether nothing more could be gained: the gradient vanishes, or the value no longer falls.
    pub converged: bool,
}

/// A point on the way, with the function and its gradient there.
#[derive(Clone)]
struct Place {
    at: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// Goes downhill from `start`. `function` gives its value at a point and writes its gradient there; it may be infinite or
/// not a number where it is not defined, and is then not stepped to.
pub fn minimize(start: &[f64], most_iterations: usize, mut function: impl FnMut(&[f64], &mut [f64]) -> f64) -> Minimum {
    let mut evaluate = |at: Vec<f64>| {
        let mut gradient = vec![0.0; at.len()];
        let value = function(&at, &mut gradient);
        let whole = value.is_finite() && gradient.iter().all(|slope| slope.is_finite());
        Place { at, value: if whole { value } else { f64::INFINITY }, gradient }
    };
    let mut here = evaluate(start.to_vec());
    let mut memory: VecDeque<(Vec<f64>, Vec<f64>)> = VecDeque::new();
    let (mut iterations, mut idle, mut converged) = (0, 0, false);
    while here.value.is_finite() && iterations < most_iterations {
        if largest(&here.gradient) <= 1e-10 * here.value.abs().max(1.0) {
            converged = true;
            break;
        }
        let direction = direction(&here.gradient, &memory);
        let slope = dot(&here.gradient, &direction);
        if slope.is_nan() || slope >= 0.0 {
            // The curvature that was gathered points uphill: begin anew with the gradient.
            if memory.is_empty() {
                break;
            }
            memory.clear();
            continue;
        }
        // Without curvature a step has no natural length, and a gradient may be huge.
        let first = if memory.is_empty() { (1.0 / largest(&here.gradient)).min(1.0) } else { 1.0 };
        iterations += 1;
        let Some(next) = search(&here, &direction, slope, first, &mut evaluate) else {
            if memory.is_empty() {
                converged = true;
                break;
            }
            memory.clear();
            continue;
        };
        let step: Vec<f64> = next.at.iter().zip(&here.at).map(|(to, from)| to - from).collect();
        let change: Vec<f64> = next.gradient.iter().zip(&here.gradient).map(|(to, from)| to - from).collect();
        if dot(&step, &change) > 1e-12 * dot(&change, &change).sqrt() * dot(&step, &step).sqrt() {
            memory.push_back((step, change));
            if memory.len() > MEMORY {
                memory.pop_front();
            }
        }
        let gain = here.value - next.value;
        here = next;
        idle = if gain <= 1e-13 * here.value.abs().max(1e-3) { idle + 1 } else { 0 };
        if idle == 3 {
            converged = true;
            break;
        }
    }
    Minimum { value: here.value, slope: largest(&here.gradient), at: here.at, iterations, converged }
}

/// The way downhill under the curvature in memory: the two-loop recursion.
fn direction(gradient: &[f64], memory: &VecDeque<(Vec<f64>, Vec<f64>)>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
    let mut shares = Vec::with_capacity(memory.len());
    for (step, change) in memory.iter().rev() {
        let share = dot(step, &direction) / dot(step, change);
        add(&mut direction, -share, change);
        shares.push(share);
    }
    if let Some((step, change)) = memory.back() {
        let scale = dot(step, change) / dot(change, change);
        for part in &mut direction {
            *part *= scale;
        }
    }
    for ((step, change), share) in memory.iter().zip(shares.into_iter().rev()) {
        let own = dot(change, &direction) / dot(step, change);
        add(&mut direction, share - own, step);
    }
    direction
}

/// A point along `direction` that meets the strong Wolfe conditions, or at least lies lower; none where nothing does.
fn search(
    here: &Place,
    direction: &[f64],
    slope: f64,
    first: f64,
    evaluate: &mut impl FnMut(Vec<f64>) -> Place,
) -> Option<Place> {
    // Between `low`, which is the best so far, and `high` lies a good step; until one is known, steps grow.
    let (mut low, mut low_slope, mut best): (f64, f64, Option<Place>) = (0.0, slope, None);
    let mut high: Option<(f64, f64)> = None;
    let mut length = first;
    for _ in 0..SEARCH {
        let at = here.at.iter().zip(direction).map(|(at, along)| at + length * along).collect();
        let place = evaluate(at);
        let low_value = best.as_ref().map_or(here.value, |place| place.value);
        if place.value > here.value + DECREASE * length * slope || place.value >= low_value {
            high = Some((length, place.value));
        } else {
            let end = dot(&place.gradient, direction);
            if end.abs() <= -CURVATURE * slope {
                return Some(place);
            }
            let turned = high.map_or(end >= 0.0, |(high, _)| end * (high - low) >= 0.0);
            if turned {
                high = Some((low, low_value));
            }
            (low, low_slope, best) = (length, end, Some(place));
        }
        length = match high {
            None => length * 3.0,
            Some((high, value)) => {
                let low_value = best.as_ref().map_or(here.value, |place| place.value);
                between(low, low_value, low_slope, high, value)
            }
        };
        if !length.is_finite() || (length - low).abs() * largest(direction) < 1e-15 {
            break;
        }
    }
    best
}

/// Where the parabola through both ends, with the slope of the lower one, has its minimum; the middle where that lies near an
/// end or nowhere.
fn between(low: f64, low_value: f64, low_slope: f64, high: f64, high_value: f64) -> f64 {
    let width = high - low;
    let bend = high_value - low_value - low_slope * width;
    let share = -low_slope * width / (2.0 * bend);
    low + width * if share.is_finite() && (0.1..=0.9).contains(&share) { share } else { 0.5 }
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

fn add(to: &mut [f64], times: f64, other: &[f64]) {
    to.iter_mut().zip(other).for_each(|(to, other)| *to += times * other);
}

fn largest(numbers: &[f64]) -> f64 {
    numbers.iter().fold(0.0, |largest, number| largest.max(number.abs()))
}

#[cfg(test)]
mod tests {
    use super::minimize;

    #[test]
    fn rosenbrocks_valley_is_followed_to_its_end() {
        let minimum = minimize(&[-1.2, 1.0], 500, |at, gradient| {
            let (x, y) = (at[0], at[1]);
            gradient[0] = -400.0 * x * (y - x * x) - 2.0 * (1.0 - x);
            gradient[1] = 200.0 * (y - x * x);
            100.0 * (y - x * x).powi(2) + (1.0 - x).powi(2)
        });
        assert!(minimum.converged && minimum.iterations < 100, "{minimum:?}");
        assert!(minimum.at.iter().all(|part| (part - 1.0).abs() < 1e-7), "{minimum:?}");
    }

    #[test]
    fn a_wall_is_not_stepped_over() {
        // ln x − 2 ln (1 − x) is defined between 0 and 1 only.
        let minimum = minimize(&[0.9], 200, |at, gradient| {
            gradient[0] = -1.0 / at[0] + 2.0 / (1.0 - at[0]);
            -at[0].ln() - 2.0 * (1.0 - at[0]).ln()
        });
        assert!((minimum.at[0] - 1.0 / 3.0).abs() < 1e-7, "{minimum:?}");
        let nowhere = minimize(&[2.0], 200, |_, _| f64::NAN);
        assert!(!nowhere.converged && nowhere.iterations == 0);
    }

    #[test]
    fn scales_may_differ_by_far() {
        let scales = [1e-4, 1.0, 1e4, 1e6];
        let minimum = minimize(&[3.0; 4], 2000, |at, gradient| {
            at.iter()
                .zip(scales)
                .zip(gradient)
                .map(|((at, scale), slope)| {
                    *slope = 2.0 * scale * (at - 1.0);
                    scale * (at - 1.0) * (at - 1.0)
                })
                .sum()
        });
        assert!(minimum.at.iter().all(|part| (part - 1.0).abs() < 1e-3), "{minimum:?}");
    }
}
