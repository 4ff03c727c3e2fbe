//! [`Descent`]: descent with momentum whose state is written to a file and read from it.

use std::path::Path;

use ndarray::{ArrayD, ArrayViewD, arr0};
use tapegrad::data::{Npz, save_npz};
use tapegrad::parallel::Mpi;
use tapegrad::{Error, Param, Result};

/// Parameters, their velocities, and the number of passes so far.
///
/// A step is that of [`Sgd`](tapegrad::optim::Sgd) with momentum: `v = m v + g`, `w -= lr v`.
pub struct Descent {
    params: Vec<Param<f64>>,
    velocities: Vec<ArrayD<f64>>,
    passes: usize,
}

impl Descent {
    pub fn new(params: Vec<Param<f64>>) -> Self {
        let velocities = params.iter().map(|param| ArrayD::zeros(param.value().raw_dim())).collect();
        Self { params, velocities, passes: 0 }
    }

    pub fn passes(&self) -> usize {
        self.passes
    }

    /// Takes a step along the gradients, and clears them.
    pub fn step(&mut self, learning_rate: f64, momentum: f64) {
        for (param, v) in self.params.iter().zip(&mut self.velocities) {
            if let Some(g) = param.grad() {
                v.zip_mut_with(&g, |v, &g| *v = momentum * *v + g);
                param.set_value(&*param.value() - &(&*v * learning_rate));
                param.zero_grad();
            }
        }
        self.passes += 1;
    }

    /// Writes everything to a file: as a whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        let (names, passes) = (self.names(), arr0(self.passes as f64).into_dyn());
        let values: Vec<_> = self.params.iter().map(Param::value).collect();
        let arrays = values.iter().map(|value| value.view()).chain(self.velocities.iter().map(|v| v.view()));
        let mut arrays: Vec<(&str, ArrayViewD<'_, f64>)> = names.iter().map(String::as_str).zip(arrays).collect();
        arrays.push(("passes", passes.view()));
        save_npz(path, &arrays)
    }

    /// Reads everything from a file. What does not fit changes nothing.
    pub fn load(&mut self, path: &Path) -> Result<()> {
        let mut file = Npz::open(path)?;
        let mut read = |name: &str, shape: &[usize]| {
            let array = file.array::<f64>(name)?;
            match array.shape() == shape {
                true => Ok(array),
                false => Err(Error::Content {
                    path: path.into(),
                    expected: format!("an array {name} of shape {shape:?}"),
                    found: format!("shape {:?}", array.shape()),
                }),
            }
        };
        let shapes = || self.params.iter().map(|param| param.value().shape().to_vec());
        let arrays = self.names().into_iter().zip(shapes().chain(shapes())).map(|(name, shape)| read(&name, &shape));
        let mut values = arrays.collect::<Result<Vec<_>>>()?;
        let passes = read("passes", &[])?.sum();
        self.velocities = values.split_off(self.params.len());
        self.params.iter().zip(values).for_each(|(param, value)| param.set_value(value));
        self.passes = passes as usize;
        Ok(())
    }

    /// Gives all ranks the velocities and passes of rank 0. A replica does the same for the parameters.
    pub fn broadcast(&mut self, mpi: &Mpi) -> Result<()> {
        let mut passes = [self.passes as u64];
        mpi.broadcast_numbers(&mut passes)?;
        self.passes = passes[0] as usize;
        for v in &mut self.velocities {
            mpi.broadcast_numbers(v.as_slice_mut().expect("it was made in standard layout"))?;
        }
        Ok(())
    }

    /// The names of the arrays: the parameters', then those of their velocities.
    fn names(&self) -> Vec<String> {
        let of = |prefix: &str| self.params.iter().map(|param| format!("{prefix}{}", param.name())).collect::<Vec<_>>();
        [of(""), of("v_")].concat()
    }
}
