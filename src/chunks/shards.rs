//! [`Shards`]: which chunks each of several processes runs, and how their sums become the sum of all.

use std::ops::Range;

use super::tree::halves;

/// The chunks of a batch, divided among ranks along the branches of the tree that adds them.
///
/// A rank owns chunks with successive numbers. It adds up the largest subtrees that it owns whole: these are its parts.
/// If the number of ranks is a power of two, each has one part. Otherwise it has a few.
#[derive(Debug)]
pub(crate) struct Shards {
    /// The chunks of each part, in order.
    parts: Vec<Range<usize>>,
    /// The parts of each rank.
    of_rank: Vec<Range<usize>>,
    /// Which part is added to which earlier one, in the order of the tree. The sum of all ends in part 0.
    merges: Vec<(usize, usize)>,
}

impl Shards {
    /// Divides this number of chunks; `None` if there are fewer chunks than ranks.
    pub(crate) fn new(chunks: usize, ranks: usize) -> Option<Self> {
        if chunks < ranks || ranks == 0 {
            return None;
        }
        // A rank begins at a node of this depth. With a power of two of ranks, every node of the depth is a rank's.
        let depth = ranks.next_power_of_two().ilog2() + if ranks.is_power_of_two() { 0 } else { 3 };
        let mut starts = Vec::new();
        node_starts(0..chunks, depth, &mut starts);
        let mut bounds = vec![0];
        for rank in 1..ranks {
            // The start that is nearest to an equal division, such that every rank gets at least one node.
            let (first, last) = (bounds[rank - 1] + 1, starts.len() - (ranks - rank));
            let distance = |&start: &usize| (starts[start] * ranks).abs_diff(rank * chunks);
            bounds.push((first..=last).min_by_key(distance).unwrap_or(last));
        }
        let mut bounds: Vec<usize> = bounds.into_iter().map(|start| starts[start]).collect();
        bounds.push(chunks);
        let owned: Vec<Range<usize>> = bounds.windows(2).map(|pair| pair[0]..pair[1]).collect();
        let (mut parts, mut merges) = (Vec::new(), Vec::new());
        divide(0..chunks, &owned, &mut parts, &mut merges);
        let part = |start: usize| parts.partition_point(|part: &Range<usize>| part.start < start);
        let of_rank = owned.iter().map(|chunks| part(chunks.start)..part(chunks.end)).collect();
        Some(Self { parts, of_rank, merges })
    }

    /// Returns the chunks of a rank.
    pub(crate) fn chunks(&self, rank: usize) -> Range<usize> {
        let parts = &self.parts[self.of_rank[rank].clone()];
        parts[0].start..parts[parts.len() - 1].end
    }

    /// Returns the numbers of a rank's parts.
    pub(crate) fn parts_of(&self, rank: usize) -> Range<usize> {
        self.of_rank[rank].clone()
    }

    /// Returns the chunks of every part: a node of the tree.
    pub(crate) fn parts(&self) -> &[Range<usize>] {
        &self.parts
    }

    /// Calls `add` with two parts for each addition between ranks, in the order of the tree: the second is added to the
    /// first. The sum of all ends in part 0.
    pub(crate) fn merge(&self, mut add: impl FnMut(usize, usize)) {
        self.merges.iter().for_each(|&(to, from)| add(to, from));
    }
}

/// Appends the first chunk of each node of this depth, or above it where the tree ends earlier.
fn node_starts(chunks: Range<usize>, depth: u32, starts: &mut Vec<usize>) {
    match halves(&chunks).filter(|_| depth > 0) {
        Some((first, second)) => {
            node_starts(first, depth - 1, starts);
            node_starts(second, depth - 1, starts);
        }
        None => starts.push(chunks.start),
    }
}

/// Appends the parts of a node and the additions among them; returns the part that holds the node's sum.
fn divide(
    node: Range<usize>,
    owned: &[Range<usize>],
    parts: &mut Vec<Range<usize>>,
    merges: &mut Vec<(usize, usize)>,
) -> usize {
    let whole = owned.iter().any(|rank| rank.start <= node.start && node.end <= rank.end);
    match halves(&node).filter(|_| !whole) {
        Some((first, second)) => {
            let (to, from) = (divide(first, owned, parts, merges), divide(second, owned, parts, merges));
            merges.push((to, from));
            to
        }
        None => {
            parts.push(node);
            parts.len() - 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The additions of a node, written out.
    fn expression(node: Range<usize>) -> String {
        match halves(&node) {
            Some((first, second)) => format!("({}+{})", expression(first), expression(second)),
            None => node.start.to_string(),
        }
    }

    #[test]
    fn ranks_add_in_the_order_of_the_one_tree() {
        for ranks in 1..=17 {
            for chunks in ranks..80 {
                let shards = Shards::new(chunks, ranks).expect("enough chunks");
                let mut sums: Vec<String> = shards.parts().iter().cloned().map(expression).collect();
                shards.merge(|to, from| sums[to] = format!("({}+{})", sums[to], sums[from]));
                assert_eq!(sums[0], expression(0..chunks), "{chunks} chunks on {ranks} ranks");
            }
        }
    }

    #[test]
    fn every_chunk_has_one_rank_and_ranks_have_about_as_many() {
        for ranks in 1..=64 {
            for chunks in ranks..200 {
                let shards = Shards::new(chunks, ranks).expect("enough chunks");
                let parts: Vec<usize> = (0..ranks).flat_map(|rank| shards.parts_of(rank)).collect();
                assert!(parts.iter().copied().eq(0..shards.parts().len()));
                let lengths: Vec<usize> = (0..ranks).map(|rank| shards.chunks(rank).len()).collect();
                let ends: Vec<usize> = (0..ranks).map(|rank| shards.chunks(rank).end).collect();
                assert_eq!((lengths.iter().sum::<usize>(), ends[ranks - 1]), (chunks, chunks));
                assert!((1..ranks).all(|rank| shards.chunks(rank).start == ends[rank - 1]));
                let (most, equal) = (*lengths.iter().max().expect("a rank"), chunks.div_ceil(ranks));
                if ranks.is_power_of_two() {
                    assert!(shards.parts().len() == ranks && most == equal, "{chunks} on {ranks}: {lengths:?}");
                } else {
                    assert!(most <= equal + 1 + equal / 4, "{chunks} on {ranks}: {lengths:?}");
                }
            }
        }
        assert!(Shards::new(3, 4).is_none());
    }
}
