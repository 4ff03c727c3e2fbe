//! Naming values and groups of nodes, for drawings.

use std::borrow::Cow;

use super::nodes::id_of;
use super::{GroupName, Tape, Var};
use crate::scalar::Scalar;

impl<T: Scalar> Tape<T> {
    /// Runs `f`, and names the nodes that `f` records on this tape as one group. [`draw`](crate::draw) draws a frame
    /// around a group, and draws it as one box if there is much else to draw. Nothing is computed differently.
    ///
    /// Groups nest. A [`Sequential`](crate::nn::Sequential) and its layers name theirs.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::{Tape, draw};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(3.0).named("x");
    /// let _ = tape.group("twice", || x + x);
    /// assert!(draw::explain(&tape).contains("twice"));
    /// ```
    pub fn group<R>(&self, name: impl Into<Cow<'static, str>>, f: impl FnOnce() -> R) -> R {
        let _group = self.open_group(GroupName::Text(name.into()));
        f()
    }

    /// Begins a group, which ends when the result is dropped.
    #[track_caller]
    pub(crate) fn open_group(&self, name: impl Into<GroupName>) -> impl Drop {
        let mut nodes = self.edit();
        let first = id_of(nodes.len());
        OpenGroup { tape: self, position: nodes.names.open(name.into(), first) }
    }
}

/// Ends a group when dropped.
struct OpenGroup<'a, T> {
    tape: &'a Tape<T>,
    position: usize,
}

impl<T> Drop for OpenGroup<'_, T> {
    fn drop(&mut self) {
        // Nobody reads the nodes, unless a panic is on its way through a sweep.
        if let Ok(mut nodes) = self.tape.recording.nodes.try_borrow_mut() {
            let end = id_of(nodes.len());
            nodes.names.close(self.position, end);
        }
    }
}

impl<T: Scalar> Var<'_, T> {
    /// Gives the value a name for drawings and explanations, and returns the value.
    ///
    /// Several values may have one name. A drawing numbers them in the order in which they were recorded: `z1`, `z2`. A
    /// [`Param`](crate::Param) on the tape has the parameter's name.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::{Tape, draw};
    ///
    /// let tape = Tape::new();
    /// let (x, w) = (tape.constant(3.0).named("x"), tape.leaf(2.0).named("w"));
    /// let _ = (x * w).named("z");
    /// assert!(draw::explain(&tape).contains("z = x w"));
    /// ```
    #[track_caller]
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.tape.edit().names.name_value(self.id, name.into());
        self
    }
}
