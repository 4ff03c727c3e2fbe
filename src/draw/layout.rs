//! The layout of boxes in ranks, from the operands above to the results below (Sugiyama, Tagawa, Toda 1981): ranks by
//! longest paths, the order in a rank by barycenters, the positions by least squares. It knows nothing of what is drawn.

/// A box to be placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) rank: Rank,
}

/// Where a box may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// Below everything that leads to it.
    Free,
    /// The same; without operands, directly above the first box that it leads to.
    Late,
    /// In the first rank: where lines come in.
    First,
    /// In the last rank: where lines go out.
    Last,
}

/// Where a line ends at a box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Port {
    /// Wherever it is best among the lines of this side.
    Any,
    /// At this distance from the left.
    At(f64),
}

/// A line from one box down to another, with room for a label beside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) leaves: Port,
    pub(super) enters: Port,
    pub(super) label: (f64, f64),
}

/// A point.
pub(super) type Point = (f64, f64);

/// Where everything stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pub(super) width: f64,
    pub(super) height: f64,
    /// The upper left corner of each box.
    pub(super) boxes: Vec<Point>,
    /// The points of each line. It runs straight down from every second point to the next.
    pub(super) lines: Vec<Vec<Point>>,
    /// The upper left corner of each label: its line passes there.
    pub(super) labels: Vec<Point>,
}

/// The space between two boxes of a rank, and between two ranks.
const BESIDE: f64 = 22.0;
const BELOW: f64 = 15.0;
/// The space that a line takes to the left and to the right.
const LINE: f64 = 9.0;
/// Rounds of ordering, and of positioning.
const ORDER_ROUNDS: usize = 12;
const PLACE_ROUNDS: usize = 120;

/// A box, a label, or a bend of a line, in its rank.
struct Cell {
    width: f64,
    height: f64,
    /// The distance of its reference point from its left side.
    anchor: f64,
    /// How strongly it wants to stand straight below its neighbour.
    weight: f64,
}

/// A straight piece of a line, from a cell to one in the next rank.
struct Piece {
    ends: [usize; 2],
    /// The distance of each end from the anchor of its cell.
    offsets: [f64; 2],
    /// Which ends may move along the side of their box.
    free: [Free; 2],
}

/// Whether the end of a line may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Free {
    Yes,
    No,
}

/// Places boxes and lines. Every line leads to a later box.
pub(super) fn layout(sizes: &[Size], links: &[Link]) -> Layout {
    let ranks = ranks(sizes, links);
    let mut cells: Vec<Cell> = sizes.iter().map(of_box).collect();
    let count = ranks.iter().max().map_or(0, |rank| 2 * rank + 1);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (at, rank) in ranks.iter().enumerate() {
        rows[2 * rank].push(at);
    }
    // Boxes stand in even rows. A line passes through every row between, and has its label above the box it leads to.
    let (mut pieces, mut paths, mut label_cells) = (Vec::new(), Vec::new(), Vec::new());
    for link in links {
        let (first, last) = (2 * ranks[link.from], 2 * ranks[link.to]);
        let mut path = vec![link.from];
        for (row, members) in rows.iter_mut().enumerate().take(last).skip(first + 1) {
            let (width, height) = if row + 1 == last { link.label } else { (0.0, 0.0) };
            cells.push(Cell { width: width + 2.0 * LINE, height, anchor: LINE, weight: 6.0 });
            members.push(cells.len() - 1);
            path.push(cells.len() - 1);
        }
        label_cells.push(path[path.len() - 1]);
        path.push(link.to);
        let own: Vec<usize> = path.windows(2).map(|ends| add(&mut pieces, [ends[0], ends[1]])).collect();
        paths.push((path, own));
    }
    // In the order of the boxes that lines come from: operands from left to right.
    let mut origins: Vec<usize> = (0..sizes.len()).collect();
    for (link, (path, _)) in links.iter().zip(&paths) {
        origins.extend(path[1..path.len() - 1].iter().map(|_| link.from));
    }
    rows.iter_mut().for_each(|row| row.sort_by_key(|&cell| origins[cell]));
    order(&mut rows, &cells, &pieces);
    ports(links, &paths, &rows, &cells, &mut pieces);
    let mut x = positions(&rows, &cells, &pieces);
    paths.iter().for_each(|(path, _)| align(&path[1..path.len() - 1], &rows, &cells, &mut x));
    straighten(&cells, &mut pieces, &x);
    draw(sizes, &rows, &cells, &pieces, &paths, &label_cells, &x)
}

fn of_box(size: &Size) -> Cell {
    Cell { width: size.width, height: size.height, anchor: size.width / 2.0, weight: 1.0 }
}

fn add(pieces: &mut Vec<Piece>, ends: [usize; 2]) -> usize {
    pieces.push(Piece { ends, offsets: [0.0; 2], free: [Free::No; 2] });
    pieces.len() - 1
}

/// Returns the rank of each box.
fn ranks(sizes: &[Size], links: &[Link]) -> Vec<usize> {
    let lowest = usize::from(sizes.iter().any(|size| size.rank == Rank::First));
    let start = |size: &Size| if size.rank == Rank::First { 0 } else { lowest };
    let mut ranks: Vec<usize> = sizes.iter().map(start).collect();
    // Links lead to later boxes, so this order is topological.
    let mut sorted: Vec<&Link> = links.iter().collect();
    sorted.sort_by_key(|link| link.from);
    for link in &sorted {
        ranks[link.to] = ranks[link.to].max(ranks[link.from] + 1);
    }
    for (at, size) in sizes.iter().enumerate() {
        let after = links.iter().filter(|link| link.from == at).map(|link| ranks[link.to]).min();
        let leads = |link: &&Link| link.to == at;
        if let (Rank::Late, Some(after), None) = (size.rank, after, links.iter().find(leads)) {
            ranks[at] = after - 1;
        }
    }
    let inner = (0..sizes.len()).filter(|&at| sizes[at].rank != Rank::Last);
    let last = inner.map(|at| ranks[at] + 1).max().unwrap_or(0);
    for (at, size) in sizes.iter().enumerate() {
        if size.rank == Rank::Last {
            ranks[at] = last;
        }
    }
    ranks
}

/// Orders the cells of each row so that few lines cross.
fn order(rows: &mut [Vec<usize>], cells: &[Cell], pieces: &[Piece]) {
    let mut neighbours: [Vec<Vec<usize>>; 2] = [vec![Vec::new(); cells.len()], vec![Vec::new(); cells.len()]];
    for Piece { ends: [above, below], .. } in pieces {
        neighbours[0][*below].push(*above);
        neighbours[1][*above].push(*below);
    }
    let mut best = (crossings(rows, &neighbours[1], cells.len()), rows.to_vec());
    for round in 0..ORDER_ROUNDS {
        let side = round % 2;
        let count = rows.len();
        for step in 1..count {
            let (row, fixed) = if side == 0 { (step, step - 1) } else { (count - 1 - step, count - step) };
            let place = places(&rows[fixed], cells.len());
            let own = places(&rows[row], cells.len());
            let center = |&cell: &usize| {
                let near: Vec<f64> = neighbours[side][cell].iter().map(|&other| place[other]).collect();
                // A cell without neighbours stays where it is.
                if near.is_empty() { own[cell] } else { near.iter().sum::<f64>() / near.len() as f64 }
            };
            let mut keyed: Vec<(f64, usize)> = rows[row].iter().map(|cell| (center(cell), *cell)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            rows[row] = keyed.into_iter().map(|(_, cell)| cell).collect();
        }
        let found = crossings(rows, &neighbours[1], cells.len());
        if found < best.0 {
            best = (found, rows.to_vec());
        }
    }
    rows.clone_from_slice(&best.1);
}

/// Returns the place of each cell of a row, from 0 to 1: rows of different lengths compare.
fn places(row: &[usize], cells: usize) -> Vec<f64> {
    let mut places = vec![0.0; cells];
    for (at, &cell) in row.iter().enumerate() {
        places[cell] = (at as f64 + 0.5) / row.len() as f64;
    }
    places
}

/// Returns the number of pairs of lines that cross.
fn crossings(rows: &[Vec<usize>], below: &[Vec<usize>], cells: usize) -> usize {
    let mut crossings = 0;
    for pair in rows.windows(2) {
        let place = places(&pair[1], cells);
        let ends: Vec<(usize, f64)> = pair[0]
            .iter()
            .enumerate()
            .flat_map(|(at, &cell)| below[cell].iter().map(move |&to| (at, to)))
            .map(|(at, to)| (at, place[to]))
            .collect();
        for (first, a) in ends.iter().enumerate() {
            crossings += ends[first + 1..].iter().filter(|b| a.0 < b.0 && a.1 > b.1).count();
        }
    }
    crossings
}

/// Spreads the ends of lines over the sides of their boxes.
fn ports(
    links: &[Link],
    paths: &[(Vec<usize>, Vec<usize>)],
    rows: &[Vec<usize>],
    cells: &[Cell],
    pieces: &mut [Piece],
) {
    let mut place = vec![0; cells.len()];
    for row in rows {
        row.iter().enumerate().for_each(|(at, &cell)| place[cell] = at);
    }
    for end in 0..2 {
        // By box: the place of the neighbour, and the piece.
        let mut sides: Vec<Vec<(usize, usize)>> = vec![Vec::new(); cells.len()];
        for (link, (path, own)) in links.iter().zip(paths) {
            let (at, port, near, piece) = match end {
                0 => (link.from, link.leaves, path[1], own[0]),
                _ => (link.to, link.enters, path[path.len() - 2], own[own.len() - 1]),
            };
            match port {
                Port::At(x) => pieces[piece].offsets[end] = x - cells[at].anchor,
                Port::Any => {
                    sides[at].push((place[near], piece));
                    pieces[piece].free[end] = Free::Yes;
                }
            }
        }
        for (cell, mut side) in sides.into_iter().enumerate() {
            side.sort_unstable();
            let (count, width) = (side.len() as f64, cells[cell].width);
            // Not up to the corners, and not far apart.
            let step = (width / (count + 1.0)).min(46.0);
            for (at, (_, piece)) in side.into_iter().enumerate() {
                pieces[piece].offsets[end] =
                    (at as f64 - (count - 1.0) / 2.0) * step + width / 2.0 - cells[cell].anchor;
            }
        }
    }
}

/// Returns the anchors' positions.
fn positions(rows: &[Vec<usize>], cells: &[Cell], pieces: &[Piece]) -> Vec<f64> {
    let mut x = vec![0.0; cells.len()];
    for row in rows {
        let mut right = 0.0;
        for &cell in row {
            x[cell] = right + cells[cell].anchor;
            right += cells[cell].width + BESIDE;
        }
    }
    // By cell and side: the neighbour, and where its end of the line lies relative to this cell's anchor.
    let mut near: [Vec<Vec<(usize, f64)>>; 2] = [vec![Vec::new(); cells.len()], vec![Vec::new(); cells.len()]];
    for Piece { ends: [above, below], offsets: [leaves, enters], .. } in pieces {
        near[0][*below].push((*above, leaves - enters));
        near[1][*above].push((*below, enters - leaves));
    }
    for round in 0..PLACE_ROUNDS {
        let down = round % 2 == 0;
        let order: Vec<usize> = if down { (0..rows.len()).collect() } else { (0..rows.len()).rev().collect() };
        for row in order {
            let wanted = |&cell: &usize| {
                // The second half weighs both sides.
                let both = round >= PLACE_ROUNDS / 2;
                let sides = [both || down, both || !down];
                let ends = (0..2).filter(|&side| sides[side]).flat_map(|side| near[side][cell].iter());
                let weighed: Vec<(f64, f64)> = ends
                    .map(|&(other, offset)| (x[other] + offset, cells[other].weight * cells[cell].weight))
                    .collect();
                let total: f64 = weighed.iter().map(|(_, weight)| weight).sum();
                if total == 0.0 {
                    return (x[cell], 0.05);
                }
                (weighed.iter().map(|(at, weight)| at * weight).sum::<f64>() / total, total)
            };
            let wanted: Vec<(f64, f64)> = rows[row].iter().map(wanted).collect();
            spread(&rows[row], cells, &wanted, &mut x);
        }
    }
    x
}

/// Places the cells of a row as near to where they want to be as their widths allow, by least squares: with the widths
/// subtracted, this is an isotonic regression, which pools neighbours that are in each other's way.
fn spread(row: &[usize], cells: &[Cell], wanted: &[(f64, f64)], x: &mut [f64]) {
    let mut offsets = Vec::with_capacity(row.len());
    let mut right = 0.0;
    for &cell in row {
        offsets.push(right + cells[cell].anchor);
        right += cells[cell].width + BESIDE;
    }
    // Blocks that move together: sum of weight times position, weight, number of cells.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for (&(at, weight), offset) in wanted.iter().zip(&offsets) {
        let mut block = ((at - offset) * weight, weight, 1);
        while let Some(&(sum, total, count)) = blocks.last() {
            if sum / total < block.0 / block.1 {
                break;
            }
            blocks.pop();
            block = (block.0 + sum, block.1 + total, block.2 + count);
        }
        blocks.push(block);
    }
    let mut members = row.iter().zip(&offsets);
    for (sum, total, count) in blocks {
        for (&cell, offset) in members.by_ref().take(count) {
            x[cell] = sum / total + offset;
        }
    }
}

/// Moves the bends of a line below each other, if one of their positions is free in every row.
fn align(bends: &[usize], rows: &[Vec<usize>], cells: &[Cell], x: &mut [f64]) {
    let fits = |bend: usize, to: f64, x: &[f64]| {
        let Some(row) = rows.iter().find(|row| row.contains(&bend)) else { return false };
        let at = row.iter().position(|&cell| cell == bend).unwrap_or_default();
        let [left, right] = [to - cells[bend].anchor, to - cells[bend].anchor + cells[bend].width];
        let after = |&before: &usize| left - (x[before] - cells[before].anchor + cells[before].width) >= BESIDE - 1e-6;
        let before = |&after: &usize| x[after] - cells[after].anchor - right >= BESIDE - 1e-6;
        row[..at].last().is_none_or(after) && row.get(at + 1).is_none_or(before)
    };
    let free = bends.iter().map(|&bend| x[bend]).find(|&to| bends.iter().all(|&bend| fits(bend, to, x)));
    if let Some(to) = free {
        bends.iter().for_each(|&bend| x[bend] = to);
    }
}

/// Moves the ends of lines along the sides of their boxes, where that makes a line straight.
fn straighten(cells: &[Cell], pieces: &mut [Piece], x: &[f64]) {
    for at in 0..pieces.len() {
        for end in 0..2 {
            let Piece { ends, offsets, free } = &pieces[at];
            let (cell, other) = (ends[end], ends[1 - end]);
            let wanted = x[other] + offsets[1 - end] - x[cell];
            let beside = |(k, piece): (usize, &Piece)| {
                k == at || piece.ends[end] != cell || (piece.offsets[end] - wanted).abs() >= LINE * 2.0
            };
            // Not up to the corners, which some outlines do not reach.
            let within = wanted.abs() <= cells[cell].width / 2.0 - 14.0;
            if free[end] == Free::Yes && within && pieces.iter().enumerate().all(beside) {
                pieces[at].offsets[end] = wanted;
            }
        }
    }
}

/// Returns the layout with its upper left corner at 0.
fn draw(
    sizes: &[Size],
    rows: &[Vec<usize>],
    cells: &[Cell],
    pieces: &[Piece],
    paths: &[(Vec<usize>, Vec<usize>)],
    label_cells: &[usize],
    x: &[f64],
) -> Layout {
    let left = |cell: usize| x[cell] - cells[cell].anchor;
    let shift = (0..cells.len()).map(left).fold(f64::INFINITY, f64::min);
    let shift = if shift.is_finite() { shift } else { 0.0 };
    let width = (0..cells.len()).map(|cell| left(cell) + cells[cell].width - shift).fold(0.0, f64::max);
    // The top and the bottom of each row, and of each cell.
    let (mut bands, mut top, mut row_of) = (Vec::new(), 0.0, vec![0; cells.len()]);
    for (at, row) in rows.iter().enumerate() {
        let height = row.iter().map(|&cell| cells[cell].height).fold(0.0, f64::max);
        // Lines have to turn between two rows: the more, the wider they spread.
        let spread = pieces.iter().filter(|piece| row.contains(&piece.ends[0])).map(|piece| {
            let [from, to] = [0, 1].map(|end| x[piece.ends[end]] + piece.offsets[end]);
            (from - to).abs()
        });
        let room = (spread.fold(0.0, f64::max) / 5.0).min(40.0);
        bands.push((top, top + height));
        let flat = |at: usize| rows.get(at).is_none_or(|row| row.iter().all(|&cell| cells[cell].height == 0.0));
        let gap = if flat(at) || flat(at + 1) { BELOW / 3.0 } else { BELOW };
        top += height + gap + room;
        row.iter().for_each(|&cell| row_of[cell] = at);
    }
    let height = bands.last().map_or(0.0, |band| band.1);
    let corner = |cell: usize| {
        let (top, bottom) = bands[row_of[cell]];
        (left(cell) - shift, (top + bottom - cells[cell].height) / 2.0)
    };
    let line = |(path, own): &(Vec<usize>, Vec<usize>)| {
        let end = |piece: usize, end: usize| x[pieces[piece].ends[end]] + pieces[piece].offsets[end] - shift;
        let mut points = Vec::new();
        for (at, &piece) in own.iter().enumerate() {
            let [above, below] = [path[at], path[at + 1]];
            // From the bottom of a box or of a row to the top of the next.
            let box_bottom = corner(above).1 + cells[above].height;
            points.push((end(piece, 0), if at == 0 { box_bottom } else { bands[row_of[above]].1 }));
            if at == 0 {
                points.push((end(piece, 0), bands[row_of[above]].1));
            }
            let last = at + 1 == own.len();
            points.push((end(piece, 1), bands[row_of[below]].0));
            if last {
                points.push((end(piece, 1), corner(below).1));
            }
        }
        points
    };
    let label = |&cell: &usize| (x[cell] - shift, corner(cell).1);
    Layout {
        width,
        height,
        boxes: (0..sizes.len()).map(corner).collect(),
        lines: paths.iter().map(line).collect(),
        labels: label_cells.iter().map(label).collect(),
    }
}
