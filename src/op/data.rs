//! [`OpData`]: index lists, which operations refer to by number.

/// The number of an index list. Operations refer to lists by number, so that they stay small and recording one does not
/// allocate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IndexList {
    number: u32,
    length: u32,
}

impl IndexList {
    /// Returns the number of indices.
    pub(crate) fn length(self) -> usize {
        self.length as usize
    }
}

/// The index lists of a recording.
#[derive(Clone, Debug, Default)]
pub struct OpData {
    lists: Vec<Vec<u32>>,
}

impl OpData {
    /// Adds a list and returns its number.
    pub(crate) fn push(&mut self, list: Vec<u32>) -> IndexList {
        let count =
            |count: usize| u32::try_from(count).expect("a recording holds at most 4,294,967,295 lists and indices");
        let added = IndexList { number: count(self.lists.len()), length: count(list.len()) };
        self.lists.push(list);
        added
    }

    /// Returns the indices of a list.
    pub(crate) fn indices(&self, list: IndexList) -> &[u32] {
        &self.lists[list.number as usize]
    }

    /// Removes all lists, the last one first.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Vec<u32>> {
        self.lists.drain(..).rev()
    }
}
