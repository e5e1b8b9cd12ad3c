//! Tables of right and wrong values.
