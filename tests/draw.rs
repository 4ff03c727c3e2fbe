//! Pictures and explanations of recorded computations. The words of rules are tested by computing what they say.

use std::collections::BTreeSet;
use std::sync::Arc;

use ndarray::{Array2, ArrayViewD, ArrayViewMutD, array};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tapegrad::nn::{
    Activation, AugmentedLinear, CrossEntropy, Linear, Loss, Module, Sequential, SoftmaxCrossEntropy, Tanh,
};
use tapegrad::{CustomOp, KeepDims, Param, Reduction, Shape, ShapeError, Tape, Var, draw};

/// Doubles.
#[derive(Debug)]
struct Twice;

impl CustomOp<f64> for Twice {
    fn name(&self) -> &'static str {
        "twice<&>"
    }
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        Ok(Shape::from(operands[0]))
    }
    fn forward(&self, operands: &[ArrayViewD<'_, f64>], mut result: ArrayViewMutD<'_, f64>) {
        result.assign(&(&operands[0] * 2.0));
    }
    fn vjp<'t>(&self, _: usize, _: &[Var<'t, f64>], _: Var<'t, f64>, g: Var<'t, f64>) -> Var<'t, f64> {
        g * 2.0
    }
}

/// The columns of each line: number, assignment, shapes, sweep. The title of a group is one.
fn columns(explained: &str) -> Vec<Vec<String>> {
    let column = |text: &str| Some(text.trim().to_string()).filter(|text| !text.is_empty());
    explained.lines().map(|line| line.split("  ").filter_map(column).collect()).collect()
}

#[test]
fn a_layer_is_explained_as_a_student_writes_it() {
    let tape = Tape::<f64>::new();
    let layer = Linear::from_params(
        Param::named("weight", Array2::zeros((784, 3))),
        Some(Param::named("bias", ndarray::Array1::zeros(3))),
    );
    let z = layer.record(&tape, tape.constant(Array2::zeros((20, 784))).named("x")).named("z");
    let y = tape.constant(Array2::zeros((20, 3))).named("y");
    let _ = z.course_cross_entropy(y, Reduction::BatchMean);
    let none = "no cotangent: not differentiated";
    let expected: [&[&str]; 11] = [
        &["0", "x", "constant (20, 784)", none],
        &["Linear 784 -> 3:"],
        &["1", "W", "parameter (784, 3)", "gradient dW : (784, 3)"],
        &["2", "v2 = x W", "matmul (20, 784) x (784, 3) -> (20, 3)", "g = dv2: dW = xᵀ g : (784, 3) for 1"],
        &["3", "b", "parameter (3,)", "gradient db : (3,)"],
        &[
            "4",
            "z = v2 + b",
            "add (20, 3) x (3,) -> (20, 3)",
            "g = dz: dv2 = g : (20, 3) for 2; db = Σ g over axis 0 : (3,) for 3",
        ],
        &["5", "y", "constant (20, 3)", none],
        &[
            "6",
            "ŷ = softmax(z) in each row",
            "softmax[axis 1] (20, 3) -> (20, 3)",
            "g = dŷ: dz = ŷ ⊙ (g - Σ g ⊙ ŷ) in each row : (20, 3) for 4",
        ],
        &[
            "7",
            "v7 = -(y ⊙ ln(ŷ + 1e-16) + (1 - y) ⊙ ln(1 - ŷ + 1e-16))",
            "course_cross_entropy_term (20, 3) x (20, 3) -> (20, 3)",
            "g = dv7: dŷ = g ⊙ ((1 - y) / (1 - ŷ + 1e-16) - y / (ŷ + 1e-16)) : (20, 3) for 6",
        ],
        &["8", "v8 = Σ v7", "sum[axes [0, 1]] (20, 3) -> ()", "g = dv8: dv7 = g for each term : (20, 3) for 7"],
        &["9", "L = v8 / 20", "divide_by[20] () -> ()", "g = dL = 1, where the sweep starts: dv8 = g / 20 : () for 8"],
    ];
    assert_eq!(columns(&draw::explain(&tape)), expected);
}

#[test]
fn structural_rules_have_words() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![[4.0, 1.0, 2.0], [1.0, 3.0, 0.5], [0.1, 0.2, 5.0]]).named("x");
    let images = tape.leaf(ndarray::Array4::<f64>::ones((1, 1, 4, 4))).named("x");
    let cases: [(Var<'_, f64>, &str, &str); 17] = [
        (x.transpose(), "xᵀ", "gᵀ"),
        (x.reshape([9]), "x as (9,)", "g in the shape before"),
        (x.slice(1, 0..2), "x[:, 0:2]", "g in [:, 0:2], else 0"),
        (x.sum_axes([1], KeepDims::No), "Σ x over axis 1", "g for each term"),
        (x.max(), "max x", "g where the maximum is (ties share it), else 0"),
        (x.prod(), "Π x", "g times the product of the other elements"),
        (x.norm(), "‖x‖", "g ⊙ x / L"),
        (x.log_softmax(-1), "log_softmax(x) in each row", "g - e^y ⊙ Σ g in each row"),
        (x.softmax(0), "softmax(x) along axis 0", "y ⊙ (g - Σ g ⊙ y) along axis 0"),
        (x.pick(&[0, 1, 2]), "x[n, iₙ], one element of each row", "g at [n, iₙ], else 0"),
        (x.cumsum(1), "running sums of x in each row", "running sums of g in each row, from the end"),
        (x.inv(), "x⁻¹", "-yᵀ g yᵀ"),
        (x.det(), "det(x)", "g cofactors(x)"),
        (x.logdet(), "ln det(x)", "g x⁻ᵀ"),
        (x.tril(0), "tril(x, 0)", "tril(g, 0)"),
        (images.avg_pool2d(2, 2), "mean of x in each window 2 x 2", "g / 4 for each element of its window"),
        (images.broadcast_to([2, 1, 4, 4]), "x repeated to (2, 1, 4, 4)", "Σ g over the repeated axes"),
    ];
    for (y, formula, rule) in cases {
        let row = columns(&draw::explain(y)).pop().unwrap();
        let named = |text: &str| text.replace(&format!("v{}", row[0]), "y").replace("dL", "dy");
        assert_eq!(named(&row[1]).split_once(" = ").unwrap().1, formula);
        let (_, found) = row[3].split_once("starts: dx = ").unwrap();
        assert_eq!(named(found).split_once(" : ").unwrap().0, rule, "{formula}");
    }
}

#[test]
fn a_transposed_operand_of_a_product_is_written_as_it_is_read() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(Array2::ones((4, 2))).named("x");
    let w = tape.leaf(Array2::ones((2, 3))).named("W");
    let seed = tape.leaf(Array2::ones((4, 3))).named("s");
    let [dx, dw] = x.matmul(w).vjp(seed, &[x, w])[..] else { panic!("two gradients") };
    // dx = s Wᵀ (4, 2): ds = g W, dW = gᵀ s; dW = xᵀ s (2, 3): dx = s gᵀ, ds = x g
    for (product, formula, rules) in [
        (dx, "s Wᵀ", ["ds = g W : (4, 3)", "dW = gᵀ s : (2, 3)"]),
        (dw, "xᵀ s", ["dx = s gᵀ : (4, 2)", "ds = x g : (4, 3)"]),
    ] {
        let row = columns(&draw::explain(product)).pop().unwrap();
        assert!(row[1].ends_with(&format!(" = {formula}")), "{row:?}");
        assert!(rules.iter().all(|rule| row[3].contains(rule)), "{row:?}");
    }
}

#[test]
fn equal_names_are_numbered_and_a_parameter_recorded_twice_is_one() {
    let tape = Tape::<f64>::new();
    let w = Param::named("weight", array![[1.0]]);
    let other = Param::named("weight", array![[2.0]]);
    let x = tape.leaf(array![[3.0]]).named("x");
    let z = x.matmul(tape.param(&w)).named("z").matmul(tape.param(&w)).named("z");
    let _ = z.matmul(tape.param(&other)) + tape.leaf(1.0).named("z2");
    let names: Vec<String> =
        columns(&draw::explain(&tape)).iter().map(|row| row[1].split(" = ").next().unwrap().to_string()).collect();
    // z2 is taken, so the second z is z3.
    assert_eq!(names, ["x", "W1", "z1", "W1", "z3", "W2", "v6", "z2", "L"]);
}

#[test]
fn contributions_that_add_up_are_written_so() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![1.0, 2.0]).named("x");
    let rows = columns(&draw::explain((x * x.tanh()).sum()));
    assert_eq!(rows[1][3], "g = dv1: dx += g ⊙ (1 - v1²) : (2,) for 0");
    assert_eq!(rows[2][3], "g = dv2: dx += g ⊙ v1 : (2,) for 0; dv1 = g ⊙ x : (2,) for 1");
}

#[test]
fn a_line_says_why_it_has_no_cotangent() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(2.0).named("x");
    let unused = tape.leaf(5.0).named("u");
    let _ = unused.sin();
    let fixed = x.square().detach();
    let loss = fixed * x;
    let rows = columns(&draw::explain(&tape));
    let reasons: Vec<&str> = rows.iter().filter_map(|row| row[3].strip_prefix("no cotangent: ")).collect();
    let independent = "the loss does not depend on it";
    assert_eq!(reasons, [independent, independent, independent, "detached"]);
    // Of the loss alone: what it was computed from.
    assert_eq!(columns(&draw::explain(loss)).len(), 4);
}

#[test]
fn custom_operations_and_checkpoints_are_drawn_and_explained() {
    let tape = Tape::<f64>::new();
    let w = Param::named("weight", array![2.0, 3.0]);
    let x = tape.leaf(array![1.0, 4.0]).named("x");
    let doubled = Var::custom(Arc::new(Twice), &[x]);
    let _ = tape.checkpoint(&[doubled], move |tape, x| (x[0] * tape.param(&w)).square()).sum();
    let rows = columns(&draw::explain(&tape));
    let custom =
        ["1", "v1 = twice<&>(x)", "twice<&> (2,) -> (2,)", "g = dv1: dx = the rule of twice<&> by x : (2,) for 0"];
    assert_eq!(rows[1], custom);
    assert_eq!(rows[2][1], "v2 = segment(v1)");
    assert_eq!(rows[2][2], "checkpoint with weight (2,) (2,) -> (2,)");
    assert_eq!(rows[2][3], "g = dv2: dv1 = the sweep of the segment, run again, by v1 : (2,) for 1");
    let drawing = draw::graph(&tape).with_backward();
    let svg = drawing.svg();
    assert!(svg.contains(r#"<g class="node custom">"#) && svg.contains(r#"<g class="node checkpoint">"#));
    assert!(svg.contains("v1 = twice&lt;&amp;&gt;(x)"));
    assert_well_formed(&svg);
    assert!(drawing.dot().contains("shape=box3d"));
}

#[test]
fn signs_of_xml_and_dot_in_names_are_escaped() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(1.0).named("<a & \"b\" \\ \u{1}\n'>");
    let _ = tape.group("]]> \"quoted\" </svg>", || x.sin().cos());
    let drawing = draw::graph(&tape).with_backward().with_title("<&>");
    assert_well_formed(&drawing.svg());
    let dot = drawing.dot();
    assert!(dot.contains(r#"<a & \"b\" \\   '>"#), "{dot}");
    assert!(dot.contains(r#"label="]]> \"quoted\" </svg>""#), "{dot}");
    assert_eq!(draw::explain(&tape).lines().count(), 4);
}

/// Asserts that a text is XML: elements nest, attributes are quoted, and signs are escaped.
fn assert_well_formed(xml: &str) {
    let mut open = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        assert_escaped(&rest[..start]);
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "in {xml}");
            continue;
        }
        let (name, mut attributes) = tag.trim_end_matches('/').split_once(' ').unwrap_or((tag, ""));
        while !attributes.trim().is_empty() {
            let (key, after) = attributes.trim_start().split_once("=\"").expect("an attribute has a quoted value");
            assert!(key.chars().all(|c| c.is_alphanumeric()), "attribute {key}");
            let (value, after) = after.split_once('"').expect("a value ends");
            assert!(!value.contains('<'));
            assert_escaped(value);
            attributes = after;
        }
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "open: {open:?}");
}

fn assert_escaped(text: &str) {
    assert!(text.chars().all(|c| !c.is_control() || c == '\n'), "control characters in {text:?}");
    for (at, _) in text.match_indices('&') {
        let entity = text[at..].split(';').next().unwrap();
        assert!(["&amp", "&lt", "&gt", "&quot", "&#39"].contains(&entity), "{entity} in {text}");
    }
}

#[derive(Clone, Copy, Debug)]
struct Rect {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Rect {
    fn overlaps(self, other: Self) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }

    fn contains(self, other: Self) -> bool {
        self.left <= other.left && other.right <= self.right && self.top <= other.top && other.bottom <= self.bottom
    }
}

/// The boxes of all elements of a class, from the geometry that is drawn.
fn boxes(svg: &str, class: &str) -> Vec<Rect> {
    let number = |element: &str, key: &str| -> f64 {
        let (_, after) = element.split_once(&format!(" {key}=\"")).unwrap_or_else(|| panic!("{key} in {element}"));
        after.split('"').next().unwrap().parse().unwrap()
    };
    let outline = |element: &str| {
        if element.starts_with("<rect") {
            let (left, top) = (number(element, "x"), number(element, "y"));
            let (right, bottom) = (left + number(element, "width"), top + number(element, "height"));
            Rect { left, top, right, bottom }
        } else if element.starts_with("<ellipse") {
            let (x, y, rx, ry) =
                (number(element, "cx"), number(element, "cy"), number(element, "rx"), number(element, "ry"));
            Rect { left: x - rx, top: y - ry, right: x + rx, bottom: y + ry }
        } else {
            let points = element.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
            let points: Vec<(f64, f64)> = points
                .split(' ')
                .map(|point| point.split_once(',').unwrap())
                .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
                .collect();
            let of = |f: fn(f64, f64) -> f64, start, x: bool| {
                points.iter().map(|point| if x { point.0 } else { point.1 }).fold(start, f)
            };
            Rect {
                left: of(f64::min, f64::INFINITY, true),
                top: of(f64::min, f64::INFINITY, false),
                right: of(f64::max, f64::NEG_INFINITY, true),
                bottom: of(f64::max, f64::NEG_INFINITY, false),
            }
        }
    };
    let lines: Vec<&str> = svg.lines().collect();
    let start = format!("class=\"{class}");
    // A node is a group, whose outline comes first. A frame is the outline itself.
    let found = lines.iter().enumerate().filter(|(_, line)| line.contains(&start) && !line.starts_with("<text"));
    found.map(|(at, line)| outline(if line.starts_with("<g") { lines[at + 1] } else { line })).collect()
}

/// The lower left corner of each text of a class.
fn texts<'a>(svg: &'a str, class: &str) -> Vec<&'a str> {
    let start = format!("<text class=\"{class}\"");
    let content = |line: &'a str| line.split_once('>').unwrap().1.strip_suffix("</text>").unwrap();
    svg.lines().filter(|line| line.starts_with(&start)).map(content).collect()
}

/// Asserts that no two nodes overlap, and that frames are disjoint or one within the other, with nodes inside or outside.
fn assert_no_overlap(svg: &str) {
    let (nodes, frames) = (boxes(svg, "node"), boxes(svg, "frame"));
    for (at, a) in nodes.iter().enumerate() {
        assert!(nodes[at + 1..].iter().all(|b| !a.overlaps(*b)), "node {at} overlaps another in\n{svg}");
        assert!(frames.iter().all(|frame| frame.contains(*a) || !frame.overlaps(*a)), "node {at} crosses a frame");
    }
    for (at, a) in frames.iter().enumerate() {
        let apart = |b: &Rect| !a.overlaps(*b) || a.contains(*b) || b.contains(*a);
        assert!(frames[at + 1..].iter().all(apart), "frame {at} crosses another in\n{svg}");
    }
}

fn mlp(layers: usize) -> Sequential<f64> {
    Sequential::mlp(layers, 4, 5, 3, Activation::Tanh, &mut StdRng::seed_from_u64(0)).unwrap()
}

/// Records a network with its loss.
fn record(tape: &Tape<f64>, network: &Sequential<f64>) {
    let scores = network.record(tape, tape.constant(Array2::zeros((2, 4))).named("x"));
    SoftmaxCrossEntropy::new().record(&array![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], scores);
}

#[test]
fn a_network_of_six_layers_has_a_frame_for_each_and_all_its_nodes() {
    let tape = Tape::new();
    record(&tape, &mlp(11));
    let svg = draw::graph(&tape).with_backward().svg();
    assert_well_formed(&svg);
    assert_no_overlap(&svg);
    assert_eq!(boxes(&svg, "node").len(), tape.len());
    let mut titles = vec!["Sequential of 11 layers", "Linear 4 -&gt; 5"];
    titles.extend(["Linear 5 -&gt; 5"; 4]);
    titles.extend(["Linear 5 -&gt; 3", "SoftmaxCrossEntropy"]);
    let mut found = texts(&svg, "title");
    found.sort_unstable();
    titles.sort_unstable();
    assert_eq!(found, titles);
    for rule in
        ["dW1 = xᵀ g : (4, 5)", "db6 = Σ g over axis 0 : (3,)", "dW6 = v25ᵀ g : (5, 3)", "dv25 = g W6ᵀ : (2, 5)"]
    {
        assert!(texts(&svg, "sweep").contains(&rule), "{rule} in {svg}");
    }
    assert!(!draw::graph(&tape).svg().contains("dW1"));
}

#[test]
fn a_tape_of_600_nodes_draws_its_groups() {
    let tape = Tape::new();
    record(&tape, &mlp(239));
    assert!(tape.len() > 600);
    let drawing = draw::graph(&tape).with_backward();
    let svg = drawing.svg();
    assert_no_overlap(&svg);
    let nodes = boxes(&svg, "node").len();
    assert!((10..=60).contains(&nodes), "{nodes} boxes");
    assert_eq!(texts(&svg, "title"), ["Sequential of 239 layers"]);
    assert!(texts(&svg, "small").contains(&"6 Linear, 6 tanh"));
    assert!(drawing.dot().lines().count() < 200);
    // All of it, if one asks.
    let all = drawing.with_most_boxes(1000).svg();
    assert_eq!(boxes(&all, "node").len(), tape.len());
    assert_no_overlap(&all);
    assert_eq!(columns(&draw::explain(&tape)).iter().filter(|row| row.len() > 1).count(), tape.len());
}

#[test]
fn nodes_without_groups_are_gathered() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(0.5).named("x");
    let _ = (0..600).fold(x, |x, _| x.sin());
    let svg = draw::graph(&tape).svg();
    assert_eq!(boxes(&svg, "node").len(), 20);
    assert!(texts(&svg, "main").contains(&"nodes 31 to 61"), "{:?}", texts(&svg, "main"));
    assert!(texts(&svg, "small").contains(&"31 sin"));
}

#[test]
fn a_group_of_the_users_own_is_drawn_and_forgotten_after_reset() {
    let mut tape = Tape::<f64>::new();
    let x = tape.leaf(2.0).named("x");
    let y = tape.group("outer", || tape.group("inner", || x * x).sin());
    let _ = y.exp();
    let explained = draw::explain(&tape);
    let titles = [vec!["outer:"], vec!["inner:"]];
    assert_eq!(columns(&explained)[1..3], titles);
    let svg = draw::graph(&tape).svg();
    assert_eq!(texts(&svg, "title"), ["outer", "inner"]);
    let frames = boxes(&svg, "frame");
    assert!(frames[0].contains(frames[1]));
    tape.reset();
    let _ = tape.leaf(2.0).sin();
    assert_eq!(columns(&draw::explain(&tape)).iter().map(|row| &*row[1]).collect::<Vec<_>>(), ["v0", "L = sin(v0)"]);
}

#[test]
fn a_group_that_panics_ends_there() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![1.0, 2.0]);
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        tape.group("half", || (x.sin().cos(), x + tape.leaf(array![1.0, 2.0, 3.0])))
    }));
    assert!(failed.is_err());
    let _ = x.exp();
    let rows = columns(&draw::explain(&tape));
    assert_eq!(rows[1], ["half:"]);
    assert_no_overlap(&draw::graph(&tape).svg());
}

#[test]
fn layers_and_losses_name_their_groups_by_themselves() {
    let tape = Tape::<f64>::new();
    let mut rng = StdRng::seed_from_u64(0);
    let x = tape.constant(Array2::zeros((2, 4)));
    let h = AugmentedLinear::new(4, 3, &mut rng).record(&tape, x);
    let h = Linear::without_bias(3, 2, &mut rng).record(&tape, Tanh::new().record(&tape, h));
    CrossEntropy::new().record(&Array2::zeros((2, 2)), h);
    let rows = columns(&draw::explain(&tape));
    let titles: Vec<&str> = rows.iter().filter(|row| row.len() == 1).map(|row| &*row[0]).collect();
    assert_eq!(titles, ["AugmentedLinear 4 -> 3:", "Linear 3 -> 2 without bias:", "CrossEntropy:"]);
}

#[test]
fn an_empty_tape_and_a_single_value_are_drawn() {
    let tape = Tape::<f64>::new();
    assert_eq!(draw::explain(&tape), "");
    assert_well_formed(&draw::graph(&tape).with_backward().svg());
    let x = tape.constant(1.0);
    let svg = draw::graph(x).with_backward().svg();
    assert_eq!(boxes(&svg, "node").len(), 1);
    assert!(svg.contains(r#"class="node constant""#));
}

#[test]
fn nothing_is_recorded_or_computed_by_drawing() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(3.0);
    let y = x.square();
    let before = tape.len();
    let _ = (draw::graph(&tape).with_backward().svg(), draw::explain(y));
    assert_eq!(tape.len(), before);
    assert!(x.grad().is_none());
}

#[test]
fn the_picture_in_the_readme_is_the_one_that_is_drawn() {
    let tape = Tape::<f32>::new();
    let layer = Linear::new(784, 3, &mut StdRng::seed_from_u64(0));
    let z = layer.record(&tape, tape.constant(Array2::from_elem((18_858, 784), 0.5)).named("x")).named("z");
    let y = tape.constant(Array2::from_elem((18_858, 3), 0.5)).named("y");
    let loss = z.course_cross_entropy(y, Reduction::BatchMean);
    let drawn = draw::graph(loss).with_backward().with_title("one layer").svg();
    let committed = include_str!("../examples/one_layer_backward.svg");
    assert!(drawn == committed, "made by: cargo run --release --example draw_graph -- --backward --out graphs");
}

#[test]
fn dot_has_a_node_for_each_line_and_an_edge_for_each_operand() {
    let tape = Tape::new();
    record(&tape, &mlp(3));
    let dot = draw::graph(&tape).with_backward().dot();
    let nodes: BTreeSet<&str> =
        dot.lines().filter(|line| line.contains("fillcolor") && !line.contains("->")).map(str::trim).collect();
    assert_eq!(nodes.len(), tape.len());
    assert!(dot.contains(r#"n0 -> n2 [label="(2, 4)"]"#), "{dot}");
    assert!(dot.contains(r#"n2 -> n1 [label="dW1 = xᵀ g\n(4, 5)", style=dashed"#), "{dot}");
    assert_eq!(dot.matches("subgraph cluster_").count(), 4);
    assert_eq!(dot.matches('{').count(), dot.matches('}').count());
}

proptest! {
    #![proptest_config(crate::common::cases(30))]

    /// Random programs with nested groups.
    #[test]
    fn no_two_boxes_overlap(choices in prop::collection::vec((0..7u8, any::<u16>(), any::<u16>()), 1..70), most in 2..90usize) {
        let tape = Tape::<f64>::new();
        let mut values = vec![tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]).named("x")];
        let mut open: Vec<(usize, usize)> = Vec::new();
        build(&tape, &choices, &mut values, &mut open);
        for drawing in [draw::graph(&tape), draw::graph(&tape).with_backward(), draw::graph(values[values.len() - 1])] {
            let svg = drawing.with_most_boxes(most).svg();
            assert_well_formed(&svg);
            assert_no_overlap(&svg);
        }
    }
}

/// Records operations by random choices. A choice may begin a group, which holds some of the choices that follow.
fn build<'t>(
    tape: &'t Tape<f64>,
    choices: &[(u8, u16, u16)],
    values: &mut Vec<Var<'t, f64>>,
    open: &mut Vec<(usize, usize)>,
) {
    let mut at = 0;
    while at < choices.len() {
        let (kind, first, second) = choices[at];
        at += 1;
        // Often the latest values, as in a network.
        let pick = |values: &[Var<'t, f64>], choice: u16| {
            let choice = usize::from(choice);
            let back = if choice % 3 == 0 { choice / 3 % values.len() } else { choice / 3 % values.len().min(3) };
            values[values.len() - 1 - back]
        };
        let (a, b) = (pick(values, first), pick(values, second));
        let value = match kind {
            0 => tape.constant(array![[1.0, 0.0], [0.5, 2.0]]),
            1 => tape.param(&Param::named("weight", array![[1.0, 0.0], [0.5, 2.0]])),
            2 => a.tanh(),
            3 => a + b,
            4 => a.matmul(b),
            5 => a * b,
            _ if open.len() < 4 => {
                let end = (at + 1 + usize::from(second) % 12).min(choices.len());
                open.push((at, end));
                let name = format!("group {first} with a name {}", "that is long ".repeat(usize::from(second) % 3));
                tape.group(name, || build(tape, &choices[at..end], values, open));
                open.pop();
                at = end;
                continue;
            }
            _ => a.sin(),
        };
        values.push(value);
    }
}
