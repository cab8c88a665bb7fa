//! The examples of `docs/textbook.md`: they run, and their numbers are those of the page.

#[path = "../examples/attention.rs"]
mod attention;
#[path = "../examples/backpropagation.rs"]
mod backpropagation;
#[path = "../examples/layer.rs"]
mod layer;
#[path = "../examples/neuron.rs"]
mod neuron;
#[path = "../examples/shift.rs"]
mod shift;
#[path = "../examples/vanishing.rs"]
mod vanishing;
#[path = "../examples/vocabulary.rs"]
mod vocabulary;

/// As the page has it, to four digits.
fn rounded(matrix: &attention::Matrix) -> [[f64; 3]; 3] {
    matrix.map(|row| row.map(|value| (value * 1e4).round() / 1e4))
}

#[test]
fn three_words_attend_to_each_other() {
    let worked = attention::work(1.0 / 3.0_f64.sqrt());
    assert_eq!(worked.scores, [[1.0, 1.0, 2.0], [1.0, 0.0, 0.0], [2.0, 0.0, 1.0]]);
    assert_eq!(rounded(&worked.scaled), [[0.5774, 0.5774, 1.1547], [0.5774, 0.0, 0.0], [1.1547, 0.0, 0.5774]]);
    assert_eq!(
        rounded(&worked.weights),
        [[0.2645, 0.2645, 0.4711], [0.4711, 0.2645, 0.2645], [0.5329, 0.1679, 0.2992]]
    );
    assert_eq!(rounded(&worked.output), [[0.7355, 0.7355, 0.2645], [0.5289, 0.7355, 0.4711], [0.4671, 0.8321, 0.5329]]);
    let unscaled = attention::work(1.0);
    assert_eq!(
        rounded(&unscaled.weights),
        [[0.2119, 0.2119, 0.5761], [0.5761, 0.2119, 0.2119], [0.6652, 0.0900, 0.2447]]
    );
    assert_eq!(
        rounded(&unscaled.output),
        [[0.7881, 0.7881, 0.2119], [0.4239, 0.7881, 0.5761], [0.3348, 0.9100, 0.6652]]
    );
    for (loam, plain) in attention::by_loam().iter().zip(worked.output.as_flattened()) {
        assert!((f64::from(*loam) - plain).abs() < 1e-6, "{loam} {plain}");
    }
    attention::main();
}

#[test]
fn a_neuron_and_a_layer() {
    let neuron = neuron::Neuron { weights: [0.5, -0.3], bias: 0.1 };
    let (gradient, differences) = (neuron.gradient([1.0, 2.0], 1.0), neuron.differences([1.0, 2.0], 1.0));
    for ((slope, difference), page) in gradient.iter().zip(differences).zip([-0.125, -0.25, -0.125]) {
        assert!((slope - difference).abs() < 1e-8 && (slope - page).abs() < 1e-12, "{slope} {difference} {page}");
    }
    neuron::main();
    assert_eq!(layer::two_layers(true), [0.0, 1.0, 1.0, 0.0]);
    assert_eq!(layer::two_layers(false), [2.0, 1.0, 1.0, 0.0]);
    assert_eq!(layer::one_layer(), [0.5; 4]);
    layer::main();
}

#[test]
fn gradients_three_ways_agree() {
    let p = backpropagation::start();
    let hand = backpropagation::by_hand(&p);
    for (k, (difference, tensor)) in
        backpropagation::by_differences(&p).iter().zip(backpropagation::by_tensors(&p)).enumerate()
    {
        assert!((hand[k] - difference).abs() < 1e-8, "{k}: {} {difference}", hand[k]);
        assert!((hand[k] - tensor).abs() < 1e-6, "{k}: {} {tensor}", hand[k]);
    }
    backpropagation::main();
}

#[test]
fn gradients_vanish_but_where_a_gate_is_open() {
    let back = |network| {
        let lengths = vanishing::gradient_by_step(network);
        lengths[vanishing::TIME - 1 - 40]
    };
    let (plain, closed) = (back(vanishing::Network::Plain), back(vanishing::Network::Lstm(0.0)));
    let open = back(vanishing::Network::Lstm(3.0));
    assert!(plain < 1e-6 && closed < 1e-6 && open > 1e-3, "{plain} {closed} {open}");
    vanishing::main();
}

#[test]
fn targets_that_are_not_shifted_teach_copying() {
    let (copied, shifted) = (shift::learn(0), shift::learn(1));
    assert!(copied.loss < 0.02 && copied.accuracy == 1.0, "{}", copied.loss);
    assert_eq!(copied.text, "the dog dog dog dog dog dog dog dog dog dog dog");
    assert!(shifted.accuracy > 0.9 && shifted.text.starts_with("the dog saw the cat and"), "{}", shifted.text);
    shift::main();
}

#[test]
fn an_id_outside_the_table_is_an_error() {
    assert_eq!(vocabulary::row_of(9_999), Ok(9_999.0));
    for id in 10_000..10_003 {
        let message = vocabulary::row_of(id).unwrap_err();
        assert!(message.contains(&id.to_string()), "{message}");
    }
    vocabulary::main();
}
