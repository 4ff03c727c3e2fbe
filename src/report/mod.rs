//! [`Report`]: a page that shows a run, in one HTML file without scripts that opens without a network.
//!
//! # Example
//!
//! ```
//! use ndarray::array;
//! use tapegrad::data::ConfusionMatrix;
//! use tapegrad::report::Report;
//! use tapegrad::train::Record;
//!
//! let records: Vec<Record> = [0.5, 0.25, 0.125].iter().enumerate().map(|(pass, &loss)| Record::new(pass, loss)).collect();
//! let weights = array![[0.1, -0.2], [0.3, 0.0], [-0.1, 0.2], [0.0, 0.1]]; // two units that see 2 × 2 pixels
//! let confusion = ConfusionMatrix::new(&array![[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], &[0, 1, 1]);
//! let page = Report::new("three passes")
//!     .with_fact("learning rate", "0.1")
//!     .with_records(&records)
//!     .with_weights("0.weight", &weights, [2, 2])
//!     .with_confusion(&confusion, &["cat", "dog"])
//!     .html();
//! assert!(page.contains("<td>0.125</td>") && page.contains("2 units") && page.contains("66.67&nbsp;%"));
//! assert!(!page.contains("http")); // nothing is loaded from elsewhere
//! ```

mod axis;
mod chart;
mod page;
mod picture;
mod table;

pub use page::Report;
