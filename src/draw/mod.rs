//! The recorded computation as a picture and as text.
//!
//! [`graph`] draws what a [`Tape`](crate::Tape) has recorded, or what a [`Var`](crate::Var) was computed from: parameters,
//! constants, operations and the loss by their shapes and colours, and beside each line the shape of its value.
//! [`Drawing::with_backward`] draws the sweep as well: each cotangent with its shape and its rule. [`explain`] writes the
//! same as text. Nothing is computed or recorded.
//!
//! # Names
//!
//! A value has the name that [`Var::named`](crate::Var::named) gave it. A parameter has its own name, and `W` or `b` if
//! that is `weight` or `bias`. Equal names are numbered in the order of recording: `W1`, `W2`. A loss without a name is
//! `L`. Any other value is `v` with the number of its node, as in a Wengert list: `v3` is `%3` in a printed tape.
//!
//! # Rules
//!
//! `dW` is the cotangent of `W`: the derivative of the loss by `W`, of the shape of `W`. In a rule, `g` is the cotangent of
//! the operation's own result. `x W` is a product of matrices, `⊙` the product element by element. `=` is the only
//! contribution to a cotangent, `+=` one of several. Numbers are shown with at most six digits.
//!
//! The words of an elementwise rule are the row of the table itself, run on names.
//!
//! # Groups
//!
//! A [`Sequential`](crate::nn::Sequential), its layers and the losses record as groups, and so does
//! [`Tape::group`](crate::Tape::group). A group has a frame. If there are more nodes than a picture can show, inner groups
//! are drawn as one box each, and long rows of nodes are gathered.
//!
//! # Example
//!
//! ```
//! use ndarray::array;
//! use tapegrad::{Param, Tape, draw};
//!
//! let w = Param::named("weight", array![[2.0], [3.0]]);
//! let tape = Tape::new();
//! let x = tape.constant(array![[1.0, 1.0]]).named("x");
//! let loss = x.matmul(tape.param(&w)).square().sum();
//! let expected = "\
//! 0  x         constant (1, 2)                   no cotangent: not differentiated
//! 1  W         parameter (2, 1)                  gradient dW : (2, 1)
//! 2  v2 = x W  matmul (1, 2) x (2, 1) -> (1, 1)  g = dv2: dW = xᵀ g : (2, 1) for 1
//! 3  v3 = v2²  square (1, 1) -> (1, 1)           g = dv3: dv2 = g ⊙ 2 v2 : (1, 1) for 2
//! 4  L = Σ v3  sum[axes [0, 1]] (1, 1) -> ()     g = dL = 1, where the sweep starts: dv3 = g for each term : (1, 1) for 3
//! ";
//! assert_eq!(draw::explain(&tape), expected);
//!
//! let svg = draw::graph(loss).with_backward().svg();
//! assert!(svg.contains("dW = xᵀ g : (2, 1)"));
//! ```

mod dot;
mod explain;
mod fold;
mod layout;
mod outline;
mod scene;
mod svg;
mod text;

use crate::scalar::Scalar;
use outline::Outline;
use scene::Sweep;

pub use outline::Recorded;
pub(crate) use text::xml;

/// Returns the picture of a tape, `draw::graph(&tape)`, or of a value with all that it was computed from,
/// `draw::graph(loss)`.
///
/// The sweep of a value starts from it. The sweep of a tape starts from the last number that is differentiated.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::{Tape, draw};
///
/// let tape = Tape::new();
/// let x = tape.leaf(array![1.0, 2.0]).named("x");
/// let _ = x.tanh();
/// let svg = draw::graph(&tape).svg();
/// assert!(svg.contains("v1 = tanh(x)") && svg.contains("(2,)"));
/// ```
#[must_use]
pub fn graph<'t, T: Scalar>(of: impl Into<Recorded<'t, T>>) -> Drawing {
    let title = "computational graph".into();
    Drawing { outline: Outline::of(of.into()), sweep: Sweep::Hidden, most: MOST, title }
}

/// Returns a line for each node: its number, what it is, the shapes, and what its rule computes and for which node.
///
/// The example of [this module](self) shows the lines.
///
/// # Example
///
/// ```
/// use tapegrad::{Tape, draw};
///
/// let tape = Tape::new();
/// let x = tape.leaf(3.0).named("x");
/// let y = (x * x).named("y");
/// assert!(draw::explain(y).ends_with("y = x²  mul () x () -> ()  g = dy = 1, where the sweep starts: dx += g x : () for 0; dx += g x : () for 0\n"));
/// ```
#[must_use]
pub fn explain<'t, T: Scalar>(of: impl Into<Recorded<'t, T>>) -> String {
    explain::explain(&Outline::of(of.into()))
}

/// As many nodes as a picture shows at once.
const MOST: usize = 60;

/// A picture of a recorded computation, as SVG or in Graphviz's DOT. It holds no value of the tape.
///
/// # Example
///
/// ```
/// use tapegrad::{Tape, draw};
///
/// let tape = Tape::new();
/// let _ = (tape.leaf(2.0).named("x").square()).named("y");
/// let drawing = draw::graph(&tape).with_backward().with_title("a square");
/// assert!(drawing.svg().contains("<title>a square</title>"));
/// assert!(drawing.dot().contains(r#"n0 -> n1 [label="()"]"#));
/// ```
#[derive(Clone, Debug)]
pub struct Drawing {
    outline: Outline,
    sweep: Sweep,
    most: usize,
    title: String,
}

impl Drawing {
    /// Returns the picture with the sweep: beside each value its cotangent, with its shape and its rule.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::{Tape, draw};
    ///
    /// let tape = Tape::new();
    /// let _ = tape.leaf(2.0).named("x").square();
    /// assert!(!draw::graph(&tape).svg().contains("dx"));
    /// assert!(draw::graph(&tape).with_backward().svg().contains("dx"));
    /// ```
    #[must_use]
    pub fn with_backward(self) -> Self {
        Self { sweep: Sweep::Drawn, ..self }
    }

    /// Returns the picture with at most about this many boxes; without it, 60. A computation of more nodes is drawn with
    /// closed groups.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::{Tape, draw};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(0.5);
    /// let _ = (0..100).fold(x, |x, _| x.sin());
    /// assert_eq!(draw::graph(&tape).with_most_boxes(5).svg().matches(r#"class="node"#).count(), 5);
    /// ```
    #[must_use]
    pub fn with_most_boxes(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// Returns the picture with this title. Screen readers say it aloud.
    ///
    /// # Example
    ///
    /// See [`Drawing`].
    #[must_use]
    pub fn with_title(self, title: impl Into<String>) -> Self {
        Self { title: title.into(), ..self }
    }

    /// Returns the picture as SVG. It is complete in itself and has no background. On a page in dark mode it has the
    /// colours for that.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::{Tape, draw};
    ///
    /// let tape = Tape::new();
    /// let _ = tape.leaf(2.0).tanh();
    /// assert!(draw::graph(&tape).svg().starts_with("<svg"));
    /// ```
    #[must_use]
    pub fn svg(&self) -> String {
        svg::svg(&scene::scene(&self.outline, &self.items(), self.sweep), &self.title)
    }

    /// Returns the picture in the language of Graphviz, for `dot -Tpdf`.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::{Tape, draw};
    ///
    /// let tape = Tape::new();
    /// let _ = tape.leaf(2.0).tanh();
    /// assert!(draw::graph(&tape).dot().starts_with("digraph"));
    /// ```
    #[must_use]
    pub fn dot(&self) -> String {
        dot::dot(&self.outline, &self.items(), self.sweep)
    }

    fn items(&self) -> Vec<fold::Item> {
        fold::fold(&self.outline, self.most)
    }
}
