//! [`Names`]: what the parts of a recording are called, for drawings. No computation reads it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The name of a group. It is made into text only when it is drawn, so that a layer that records its group makes no
/// allocation.
#[derive(Clone, Debug)]
pub(crate) enum GroupName {
    /// A text of the user's.
    Text(Cow<'static, str>),
    /// A text that a network keeps.
    Shared(Arc<str>),
    /// A kind of layer with its widths, as in `Linear 100 -> 3`.
    Widths { kind: &'static str, inputs: usize, outputs: usize, suffix: &'static str },
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Shared(text) => f.write_str(text),
            Self::Widths { kind, inputs, outputs, suffix } => write!(f, "{kind} {inputs} -> {outputs}{suffix}"),
        }
    }
}

impl From<&'static str> for GroupName {
    fn from(name: &'static str) -> Self {
        Self::Text(Cow::Borrowed(name))
    }
}

impl From<&Arc<str>> for GroupName {
    fn from(name: &Arc<str>) -> Self {
        Self::Shared(Arc::clone(name))
    }
}

/// Nodes that belong together, such as those of a layer: those from `first` to before `end`. Two groups are disjoint, or
/// one contains the other.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) first: u32,
    pub(crate) end: u32,
    pub(crate) name: GroupName,
}

/// The names of values and of groups of nodes. The lists keep their memory when they are cleared.
#[derive(Default)]
pub(crate) struct Names {
    /// Groups in the order of their first nodes, outer ones before inner ones.
    groups: Vec<Group>,
    /// Values that the user has named, in the order of naming.
    values: Vec<(u32, Cow<'static, str>)>,
}

impl Names {
    pub(super) fn clear(&mut self) {
        self.groups.clear();
        self.values.clear();
    }

    /// Begins a group at node `first` and returns its position.
    pub(super) fn open(&mut self, name: GroupName, first: u32) -> usize {
        self.groups.push(Group { first, end: u32::MAX, name });
        self.groups.len() - 1
    }

    /// Ends a group before node `end`.
    pub(super) fn close(&mut self, position: usize, end: u32) {
        self.groups[position].end = end;
    }

    pub(super) fn name_value(&mut self, id: u32, name: Cow<'static, str>) {
        self.values.push((id, name));
    }

    /// Returns the groups, outer ones before inner ones.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Returns the named values. A later name replaces an earlier one.
    pub(crate) fn values(&self) -> impl Iterator<Item = (u32, &str)> {
        self.values.iter().map(|(id, name)| (*id, &**name))
    }
}
