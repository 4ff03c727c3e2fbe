//! A line search for the strong Wolfe conditions.

/// A point on the line: the step `t`, and there the loss, its gradient, and its slope along the direction.
#[derive(Clone)]
pub(super) struct Point<T> {
    pub(super) t: f64,
    pub(super) loss: f64,
    pub(super) gradient: Vec<T>,
    pub(super) slope: f64,
}

/// The share of the first slope by which the loss has to fall: Nocedal and Wright's `c₁`.
const DECREASE: f64 = 1e-4;
/// The share of the first slope that the slope may keep: their `c₂`.
const CURVATURE: f64 = 0.9;

/// Looks for a step that satisfies the strong Wolfe conditions, and returns the best point that it found, and the number
/// of points that it evaluated: at most `most`, and at least one.
///
/// This is algorithm 3.5 of Nocedal and Wright (2006), which brackets such a step, and then their algorithm 3.6, which
/// narrows the bracket, both with cubic interpolation. All limits are those of `torch.optim.LBFGS`. `scale` is the
/// direction's largest element: a bracket that moves no parameter by more than `tolerance` is narrow enough.
pub(super) fn strong_wolfe<T: Clone>(
    mut evaluate: impl FnMut(f64) -> Point<T>,
    start: Point<T>,
    first: f64,
    scale: f64,
    tolerance: f64,
    most: usize,
) -> (Point<T>, usize) {
    let too_high = |point: &Point<T>| point.loss > start.loss + DECREASE * point.t * start.slope;
    let flat = |point: &Point<T>| point.slope.abs() <= -CURVATURE * start.slope;

    let (mut before, mut here) = (start.clone(), evaluate(first));
    let (mut count, mut round) = (1, 0);
    let mut bracket = loop {
        if round == most {
            break [start.clone(), here];
        }
        if too_high(&here) || (round > 1 && here.loss >= before.loss) {
            break [before, here];
        }
        if flat(&here) {
            return (here, count);
        }
        if here.slope >= 0.0 {
            break [before, here];
        }
        let bounds = (here.t + 0.01 * (here.t - before.t), 10.0 * here.t);
        let t = minimum_of_cubic(&before, &here, bounds);
        before = std::mem::replace(&mut here, evaluate(t));
        (count, round) = (count + 1, round + 1);
    };

    // Which of the two has the lower loss.
    let low_of = |bracket: &[Point<T>; 2]| if bracket[0].loss <= bracket[1].loss { 0 } else { 1 };
    let (mut low, mut slow) = (low_of(&bracket), false);
    while round < most {
        let (left, right) = (bracket[0].t.min(bracket[1].t), bracket[0].t.max(bracket[1].t));
        if (right - left) * scale < tolerance {
            break;
        }
        let mut t = minimum_of_cubic(&bracket[0], &bracket[1], (left, right));
        // A point close to an end narrows the bracket little: the second time, or at the end itself, it moves inwards.
        let margin = 0.1 * (right - left);
        let close = (right - t).min(t - left) < margin;
        if close && (slow || t >= right || t <= left) {
            t = if (t - right).abs() < (t - left).abs() { right - margin } else { left + margin };
            slow = false;
        } else {
            slow = close;
        }
        let here = evaluate(t);
        (count, round) = (count + 1, round + 1);
        let high = 1 - low;
        if too_high(&here) || here.loss >= bracket[low].loss {
            bracket[high] = here;
            low = low_of(&bracket);
        } else if flat(&here) {
            return (here, count);
        } else {
            if here.slope * (bracket[high].t - bracket[low].t) >= 0.0 {
                bracket[high] = bracket[low].clone();
            }
            bracket[low] = here;
        }
    }
    let [first, second] = bracket;
    (if low == 0 { first } else { second }, count)
}

/// Returns the minimum, within bounds, of the cubic with the losses and slopes of two points; the middle of the bounds if
/// it has none. Nocedal and Wright, equation 3.59.
fn minimum_of_cubic<T>(a: &Point<T>, b: &Point<T>, (low, high): (f64, f64)) -> f64 {
    let (a, b) = if a.t <= b.t { (a, b) } else { (b, a) };
    let d1 = a.slope + b.slope - 3.0 * (a.loss - b.loss) / (a.t - b.t);
    let square = d1 * d1 - a.slope * b.slope;
    // Written so that NaN gives the middle.
    if square >= 0.0 {
        let d2 = square.sqrt();
        let t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2));
        if !t.is_nan() {
            return if t < low {
                low
            } else if t > high {
                high
            } else {
                t
            };
        }
    }
    (low + high) / 2.0
}
