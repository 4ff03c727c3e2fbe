//! det: the determinant by expansion by minors along the first row.
//!
//! All minors of one size are one array: for each choice of columns for the rows above, in order, the determinant of what
//! is left. There are `ℓ!` of size 1. None is computed once for several choices, because the evaluation is meant to count
//! operations.

use ndarray::ArrayD;
use tapegrad::{KeepDims, Var};

use crate::input::expected;
use crate::protocol::{Call, Outcome};

fn determinant(a: Var<'_, f64>, ell: usize) -> Var<'_, f64> {
    // The columns that are left for row `i`, a set of bits for each choice above it; and the elements that each can begin with,
    // with the sign of their place: (places, choices) for each row.
    let mut left = vec![(1_u32 << ell) - 1];
    let mut elements: Vec<Vec<usize>> = Vec::new();
    for i in 0..ell {
        let column = |columns: u32, place: usize| (0..ell).filter(|k| columns >> k & 1 == 1).nth(place).unwrap_or(0);
        let places = || (0..ell - i).flat_map(|place| left.iter().map(move |&columns| (place, columns)));
        let signed = |place: usize, column: usize| place % 2 * ell * ell + i * ell + column;
        elements.push(places().map(|(place, columns)| signed(place, column(columns, place))).collect());
        left = places().map(|(place, columns)| columns & !(1 << column(columns, place))).collect();
    }

    let signed = Var::concat(&[a, -a], 0);
    let mut rows = elements.iter().enumerate().rev();
    let select = |elements: &Vec<usize>| signed.index_select(0, elements);
    let last = rows.next().map_or(signed, |(_, elements)| select(elements));
    let minors = rows.fold(last, |minors, (i, elements)| {
        let terms = (select(elements) * minors).reshape([ell - i, elements.len() / (ell - i)]);
        terms.sum_axes([0], KeepDims::No)
    });
    minors.sum()
}

fn problem(call: &Call) -> Outcome<(ArrayD<f64>, usize)> {
    let ell = call.input.count("ell")?;
    if !(1..=11).contains(&ell) {
        return Err(expected("ell", "1 to 11: it takes ell! products", ell));
    }
    Ok((call.input.shaped("A", &[ell * ell])?, ell))
}

pub fn primal(call: &mut Call) -> Outcome {
    let (a, ell) = problem(call)?;
    call.value(&[ell], &[&a], |v| determinant(v[0], ell))
}

pub fn gradient(call: &mut Call) -> Outcome {
    let (a, ell) = problem(call)?;
    call.gradient(&[ell], &[&a], |v| determinant(v[0], ell))
}
