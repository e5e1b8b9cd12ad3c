//! The lain binary.
fn main() {}
