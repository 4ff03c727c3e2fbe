//! The plan of a program as text.

use std::fmt;

use super::compiled::Compiled;
use super::graph::{Action, Origin};
use super::plan::{Unit, operands};
use crate::op::TilePlace;
use crate::scalar::Scalar;

impl<T: Scalar> fmt::Display for Compiled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (graph, plan) = (&self.graph, &self.plan);
        let bytes = |elements: usize| elements * size_of::<T>();
        let computed = graph.values.iter().filter(|value| matches!(value.origin, Origin::Computed { .. })).count();
        let constants: usize = graph
            .values
            .iter()
            .map(|value| if let Origin::Constant(constant) = &value.origin { constant.data.len() } else { 0 })
            .sum();
        writeln!(
            f,
            "Program of {computed} steps in {} units, from {} recorded; {} inputs, {} parameters, {} outputs, {} guards",
            plan.units.len(),
            graph.recorded,
            graph.inputs.len(),
            graph.params.len(),
            graph.outputs.len(),
            graph.guards.len()
        )?;
        writeln!(
            f,
            "memory: {} bytes in {} arrays, {} bytes in registers, {} bytes of constants",
            bytes(plan.slots.iter().sum()),
            plan.slots.len(),
            bytes(plan.registers.iter().sum::<usize>() + plan.numbers),
            bytes(constants)
        )?;
        for (number, unit) in plan.units.iter().enumerate() {
            match unit {
                Unit::One(value) => {
                    let found = &graph.values[*value];
                    let Origin::Computed { action, .. } = &found.origin else { continue };
                    let name = match action {
                        Action::Op(op) => op.to_string(),
                        Action::Custom(custom) => custom.name().to_string(),
                        Action::PullUnary(_) | Action::PullBinary(..) => "pull".to_string(),
                        Action::Copy => "copy".to_string(),
                    };
                    write!(f, "{number:>4}: v{value} = {name}")?;
                    for operand in operands(found) {
                        write!(f, " v{operand}")?;
                    }
                    writeln!(f, " : {}", found.shape)?;
                }
                Unit::Straight { program, made } => {
                    writeln!(f, "{number:>4}: {} steps on single numbers", program.steps())?;
                    for line in program.lines(made) {
                        writeln!(f, "      {line}")?;
                    }
                }
                Unit::Group { group, made } => {
                    let tile = group.tile.min(group.elements);
                    let rows = group.steps.len();
                    writeln!(f, "{number:>4}: {rows} rows of {} elements, tiles of {tile}", group.elements)?;
                    for step in &group.steps {
                        let place = |place: &TilePlace| match place {
                            TilePlace::Register(register) => format!("r{register}"),
                            TilePlace::Made(k) => format!("v{}", made[*k]),
                            TilePlace::Outside(value) => format!("v{value}"),
                        };
                        let operands: Vec<String> = step.operands.iter().map(place).collect();
                        writeln!(f, "      {} = {} {}", place(&step.target), step.row, operands.join(" "))?;
                    }
                    for gathered in &group.gathered {
                        writeln!(f, "      r{} reads v{}", gathered.register, gathered.array)?;
                    }
                }
            }
        }
        Ok(())
    }
}
