//! Looking at a host: which commands are run, and what their text says. Nothing here changes anything.

pub mod ifconfig;

#[cfg(test)]
pub(crate) mod recording;
