//! Declarative files: what people write, and the statements that it takes to get there. A file says
//! all there is to say about what it names, and nothing about what it does not: absence never
//! removes.

pub mod dates;
pub mod fault;
pub mod file;
pub mod note;
pub mod read;
pub mod resolve;
pub mod schema;
pub mod text;

pub use fault::{Ended, Flaw, Misdeclared, ResolveError};
pub use file::Declared;
pub use read::{ReadError, read};
pub use resolve::{Difference, Resolved, resolve};
