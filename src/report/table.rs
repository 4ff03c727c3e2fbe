//! The tables of a page: the confusion matrix, and the numbers of all passes.

use std::fmt::Write as _;

use crate::data::ConfusionMatrix;
use crate::draw::xml;
use crate::train::Record;

/// Returns the confusion matrix as a table, each cell shaded by its share of the row.
pub(super) fn confusion(matrix: &ConfusionMatrix, names: &[String]) -> String {
    let percent = |share: f64| if share.is_nan() { "–".into() } else { format!("{:.2}&nbsp;%", 100.0 * share) };
    let mut out = format!(
        "<section>\n<h2>Confusion matrix</h2>\n<p class=\"note\" id=\"confusion\">A row for each true class, a column for \
         what it was taken for; accuracy {}. The colour of a cell is the stronger the more of its row it has.</p>\n\
         <div class=\"scroll\"><table class=\"confusion\" aria-describedby=\"confusion\">\n<thead><tr><th scope=\"col\">true \\ taken for</th>",
        percent(matrix.accuracy())
    );
    names.iter().for_each(|name| out += &format!("<th scope=\"col\">{}</th>", xml(name)));
    out += "<th scope=\"col\" class=\"share\">recall</th></tr></thead>\n<tbody>\n";
    for (class, row) in matrix.counts().rows().into_iter().enumerate() {
        let sum = row.sum().max(1) as f64;
        out += &format!("<tr><th scope=\"row\">{}</th>", xml(&names[class]));
        for (taken, &count) in row.iter().enumerate() {
            // A few mistakes among many are to be seen, too.
            let shade = 0.6 * (count as f64 / sum).powf(0.4);
            let kind = if taken == class { "right" } else { "wrong" };
            // Writing to a string does not fail.
            let _ = write!(out, "<td class=\"{kind}\" style=\"--shade:{shade:.3}\">{count}</td>");
        }
        let _ = writeln!(out, "<td class=\"share\">{}</td></tr>", percent(matrix.recall(class)));
    }
    out += "</tbody>\n<tfoot><tr><th scope=\"row\">precision</th>";
    (0..names.len()).for_each(|class| out += &format!("<td class=\"share\">{}</td>", percent(matrix.precision(class))));
    out + "<td></td></tr></tfoot>\n</table></div>\n</section>\n"
}

/// What a column shows of a record.
type Number<'a> = Box<dyn Fn(&Record) -> Option<f64> + 'a>;

/// The rows that a page shows.
const MOST: usize = 400;

/// Returns the numbers of the records as a table that opens on demand.
pub(super) fn numbers(records: &[Record]) -> String {
    let every = records.len().div_ceil(MOST).max(1);
    let which = if every > 1 { format!("every {every}th pass and the last one") } else { "all passes".into() };
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in records.iter().flat_map(Record::gradient_norms) {
        if !names.contains(&&**name) {
            names.push(name);
        }
    }
    let mut columns: Vec<(String, Number<'_>)> = vec![
        ("training loss".into(), Box::new(|record: &Record| Some(record.train_loss()))),
        ("test loss".into(), Box::new(Record::test_loss)),
        ("training accuracy".into(), Box::new(Record::train_accuracy)),
        ("test accuracy".into(), Box::new(Record::test_accuracy)),
        ("learning rate".into(), Box::new(Record::learning_rate)),
    ];
    for name in names {
        let norm =
            move |record: &Record| record.gradient_norms().iter().find(|(of, _)| of == name).map(|(_, norm)| *norm);
        columns.push((format!("gradient norm of {}", xml(name)), Box::new(norm)));
    }
    columns.retain(|(_, value)| records.iter().any(|record| value(record).is_some()));
    let mut out = format!(
        "<section>\n<h2>Numbers</h2>\n<details><summary>The numbers of {which}</summary>\n<div class=\"scroll\"><table>\n\
         <thead><tr><th scope=\"col\">pass</th>"
    );
    columns.iter().for_each(|(name, _)| out += &format!("<th scope=\"col\">{name}</th>"));
    out += "<th scope=\"col\">seconds</th></tr></thead>\n<tbody>\n";
    for (index, record) in records.iter().enumerate() {
        if !index.is_multiple_of(every) && index + 1 < records.len() {
            continue;
        }
        out += &format!("<tr><th scope=\"row\">{}</th>", record.pass());
        for (_, value) in &columns {
            out += &value(record).map_or("<td>–</td>".into(), |value| format!("<td>{value:?}</td>"));
        }
        out += &format!("<td>{:.3}</td></tr>\n", record.time().as_secs_f64());
    }
    out + "</tbody>\n</table></div>\n</details>\n</section>\n"
}
