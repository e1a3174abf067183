//! What the agent writes for the base tools to read, as text that an operator could have written by hand.

pub mod digest;
pub mod jailconf;
pub mod pf;
pub mod rcconf;
