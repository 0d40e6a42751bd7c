//! Declarative files: what people write, and the statements that it takes to get there. A file says
//! all there is to say about what it names, and nothing about what it does not: absence never
//! removes.

pub mod dates;
pub mod fault;
pub mod file;
pub mod locate;
pub mod resolve;
pub mod text;

pub use fault::ResolveError;
pub use file::{Declared, ReadError, read};
pub use resolve::{Difference, Resolved, resolve};
