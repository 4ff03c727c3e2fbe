//! The methods and operators of [`Var`](crate::Var). Each records an operation.

mod activation;
mod attention;
mod conv;
mod cross_entropy;
#[cfg(feature = "decompositions")]
mod decomposition;
mod diagonal;
mod differentiate;
mod distance;
mod einsum;
mod elementwise;
mod index;
mod linalg;
mod loss;
mod normalize;
mod operand;
mod operators;
mod order;
mod pool;
mod read;
mod record;
mod reduce;
mod reduce_axis;
mod running;
mod scan;
mod shape;
mod split;
mod window;

pub use attention::AttentionMask;
pub use conv::ConvOptions;
pub use cross_entropy::CrossEntropyOptions;
pub use operand::Operand;
pub use pool::{PoolDivisor, PoolOptions};
pub use running::RunningStatistics;
pub use window::Size2d;
