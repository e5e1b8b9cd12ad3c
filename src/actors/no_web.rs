//! What stands in the API's place in a tree that serves none: in tests, simulations and benchmarks.

use crate::actors::supervise::{Birth, Child, ChildSpec, Context, ExitReason, Init};
use actix::prelude::*;

/// The actor; it does nothing.
struct NoWeb;

impl Actor for NoWeb {
    type Context = Context<Self>;
}

impl Child for NoWeb {
    type Args = ();
    async fn init((): (), _: Birth<Self>) -> Result<Init<Self>, ExitReason> {
        Ok(Init::Ready(Self))
    }
}

/// The child, called as the API's is.
pub fn spec() -> ChildSpec {
    ChildSpec::worker::<NoWeb>("web", ())
}
