//! The decisions of the controller.
//!
//! This crate is pure.
pub mod claim;
pub mod conditions;
pub mod document;
pub mod index;
pub mod keys;
pub mod write;
